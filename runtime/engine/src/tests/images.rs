//! What is no image for us is refused in plain words; what is, starts fast.

use super::*;
use wk_cri::Error;

/// A core module that imports `env.host_magic` and exports `_start`.
fn unknown_import() -> Vec<u8> {
    let mut bytes = b"\0asm\x01\0\0\0".to_vec();
    bytes.extend([1, 4, 1, 0x60, 0, 0]); // type: nothing to nothing
    bytes.extend([2, 18, 1, 3]); // import section
    bytes.extend(b"env");
    bytes.push(10);
    bytes.extend(b"host_magic");
    bytes.extend([0, 0]);
    bytes.extend([7, 10, 1, 6]); // export section
    bytes.extend(b"_start");
    bytes.extend([0, 0]);
    bytes
}

async fn refusal(node: &Node, bytes: &[u8]) -> String {
    node.images.load(bytes, "odd", "odd").unwrap();
    match node.runtime.pull_image("odd").await {
        Err(Error::InvalidArgument(message)) => message,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_unknown_import_is_named() {
    let node = Node::start();
    let message = refusal(&node, &unknown_import()).await;
    assert!(message.starts_with("image docker.io/library/odd:latest cannot run here"), "{message}");
    assert!(message.contains("host_magic"), "{message}");
}

#[tokio::test]
async fn a_library_is_no_command() {
    let node = Node::start();
    let message = refusal(&node, b"\0asm\x01\0\0\0").await;
    assert!(message.contains("_start"), "{message}");
    let message = refusal(&node, b"\0asm\x0d\0\x01\0").await;
    assert!(message.contains("wasi:cli/run"), "{message}");
}

#[tokio::test]
async fn invalid_code_is_refused() {
    let node = Node::start();
    let mut bytes = unknown_import();
    bytes.extend([10, 2, 1, 0]); // a body without a function
    assert!(refusal(&node, &bytes).await.contains("cannot run here"));
}

#[tokio::test]
async fn an_image_that_is_not_here_says_how_to_load_it() {
    let node = Node::start();
    let missing = node.runtime.pull_image("nginx").await;
    let Err(Error::NotFound(message)) = missing else { panic!("{missing:?}") };
    assert!(message.contains("wk image load FILE.wasm --tag nginx"), "{message}");
    let invalid = node.runtime.pull_image("not a name").await;
    let Err(Error::InvalidArgument(message)) = invalid else { panic!("{invalid:?}") };
    assert_eq!(message, "couldn't parse image reference \"not a name\": invalid reference format");
}

#[tokio::test]
async fn a_damaged_blob_and_damaged_code_are_noticed() {
    let node = Node::start();
    let cache = tempfile::tempdir().unwrap();
    let record = node.images.resolve("exit-code").unwrap().unwrap();
    let load = async || {
        let programs = Programs::new(cache.path(), Compiler::Thread).unwrap();
        programs.get(&guest_runtime(), &node.images, &record).await.map(drop)
    };
    load().await.unwrap();
    let code = std::fs::read_dir(cache.path()).unwrap().next().unwrap().unwrap().path();
    let code = code.join(format!("{}.cwasm", record.digest.hex()));
    let whole = std::fs::read(&code).unwrap();
    // Cut off, and changed in one bit of its machine code, which wasmtime would run.
    let (cut, mut flipped) = (whole[..whole.len() / 2].to_vec(), whole.clone());
    flipped[whole.len() / 2] ^= 1;
    for damaged in [b"garbage".to_vec(), cut, flipped] {
        std::fs::write(&code, damaged).unwrap();
        load().await.unwrap();
        assert_eq!(std::fs::read(&code).unwrap(), whole, "it was compiled again");
    }
    for sum in ["", "sha256:0"] {
        std::fs::write(code.with_extension("sha256"), sum).unwrap();
        load().await.unwrap();
    }
    std::fs::remove_file(&code).unwrap();
    std::fs::write(node.images.blob_path(&record.digest), "garbage").unwrap();
    assert!(load().await.unwrap_err().to_string().contains("damaged"));
}

#[tokio::test]
async fn removing_an_image_forgets_its_code() {
    let node = Node::start();
    let bytes = std::fs::read(wk_guests::exit_code_p1()).unwrap();
    let own = [bytes, vec![0, 5, 4, b't', b'e', b's', b't']].concat(); // a custom section: another image
    let record = node.images.load(&own[..], "own", "own").unwrap();
    node.runtime.pull_image("own").await.unwrap();
    node.runtime.remove_image("own").await.unwrap();
    assert_eq!(node.runtime.image_status("own").await, Ok(None));
    assert!(!node.images.blob_path(&record.digest).exists());
}
