//! A new migration is part of the program: whoever adds one gets a new build.

fn main() {
    println!("cargo::rerun-if-changed=../migrations/crm");
}
