//! Compiles the `.proto` files beside this one, without a system protoc.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

const FILES: &[&str] = &[
    "common/v1/access.proto",
    "common/v1/errors.proto",
    "identity/v1/account.proto",
    "identity/v1/auth_service.proto",
    "identity/v1/employee_service.proto",
    "identity/v1/token_service.proto",
    "crm/v1/client_service.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    for file in FILES {
        println!("cargo::rerun-if-changed={file}");
    }
    let mut compiler = protox::Compiler::new(["."])?;
    compiler.include_imports(true).open_files(FILES)?;

    // Reflection serves these bytes; they keep options that the typed set loses.
    let descriptor = compiler.encode_file_descriptor_set();
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("descriptor.bin"), &descriptor)?;

    tonic_prost_build::configure()
        // A map that always encodes in the same order, so that equal requests are equal bytes.
        .btree_map(".")
        .compile_fds(prost_types::FileDescriptorSet::decode(&*descriptor)?)?;
    Ok(())
}
