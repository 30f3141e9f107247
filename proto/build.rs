//! Compiles the `.proto` files beside this one, without a system protoc, and gives request
//! messages the traits that follow from their shape.

use std::{env, error::Error, fmt::Write, fs, path::PathBuf};

use prost::Message;
use prost_types::{DescriptorProto, FileDescriptorSet};
use tonic_prost_build::Config;

fn main() -> Result<(), Box<dyn Error>> {
    let files = proto_files()?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut compiler = protox::Compiler::new(["."])?;
    compiler.include_imports(true).include_source_info(true).open_files(files)?;

    // Reflection serves these bytes; they keep options that the typed set loses.
    let encoded = compiler.encode_file_descriptor_set();
    fs::write(out.join("descriptor.bin"), &encoded)?;

    let descriptor = FileDescriptorSet::decode(&*encoded)?;
    fs::write(out.join("shapes.rs"), shapes(&descriptor)?)?;
    let mut config = Config::new();
    // A map that always encodes in the same order, so that equal requests are equal bytes.
    config.btree_map(["."]);
    config.enable_type_names();
    tonic_prost_build::configure().compile_fds_with_config(descriptor, config)?;
    Ok(())
}

/// Every `.proto` file in `<package>/<version>/`.
fn proto_files() -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut files = Vec::new();
    for package in ["common", "identity", "crm"] {
        // Cargo looks into a folder: a new file is noticed too.
        println!("cargo::rerun-if-changed={package}");
        for version in fs::read_dir(package)? {
            for file in fs::read_dir(version?.path())? {
                files.push(file?.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Which requests can be repeated and which ask for a page is said by their fields, once.
fn shapes(descriptor: &FileDescriptorSet) -> Result<String, Box<dyn Error>> {
    let mut code = String::new();
    for file in &descriptor.file {
        let module = file.package().replace('.', "::");
        for message in &file.message_type {
            let path = format!("crate::{module}::{}", message.name());
            if has_field(message, "request_id") {
                writeln!(
                    code,
                    "impl crate::Repeatable for {path} {{
                        fn request_id(&self) -> &str {{
                            &self.request_id
                        }}
                        fn body(&self) -> Vec<u8> {{
                            let body = Self {{ request_id: String::new(), ..self.clone() }};
                            ::prost::Message::encode_to_vec(&body)
                        }}
                    }}"
                )?;
            }
            if has_field(message, "page_token") {
                let (ask, query) = paging(message);
                writeln!(
                    code,
                    "impl crate::Paged for {path} {{
                        fn ask(&self) -> crate::PageAsk<'_> {{
                            crate::PageAsk {{ {ask} }}
                        }}
                        fn query(&self) -> Self {{
                            Self {{ {query} ..self.clone() }}
                        }}
                    }}"
                )?;
            }
        }
    }
    Ok(code)
}

/// What a request says of the page that it asks for, and the fields that may differ between two
/// pages of one list. A stream of all pages has no more than a place to begin.
fn paging(message: &DescriptorProto) -> (String, String) {
    let mut ask = "token: &self.page_token,".to_owned();
    let mut query = "page_token: String::new(),".to_owned();
    for (name, field, value, nothing) in [
        ("size", "page_size", "self.page_size", "0"),
        ("skip", "skip", "self.skip", "0"),
        ("order_by", "order_by", "&self.order_by", "\"\""),
        ("include_total", "include_total", "self.include_total", "false"),
    ] {
        let has = has_field(message, field);
        ask.extend([name, ": ", if has { value } else { nothing }, ","]);
        if has && field != "order_by" {
            query.extend([field, ": ", nothing, ","]);
        }
    }
    (ask, query)
}

fn has_field(message: &DescriptorProto, name: &str) -> bool {
    message.field.iter().any(|field| field.name() == name)
}
