//! Files as stores write them, as somebody has changed them, and as nobody writes them.

use std::fs;

use bolero::TypeGenerator;
use discovery_core::store::Value;
use discovery_disk_fuzz::{FORMS, get, has_sum, store};
use discovery_http_cache_fuzz::target;
use tokio_test::block_on;

/// A value, and what becomes of its file.
#[derive(Clone, Debug, TypeGenerator)]
struct Written {
    form: u8,
    head: Vec<u8>,
    body: Vec<u8>,
    streamed: bool,
    change: Change,
}

#[derive(Clone, Debug, TypeGenerator)]
enum Change {
    None,
    Flip { at: u16, bit: u8 },
    Cut { at: u16 },
    Append { bytes: Vec<u8> },
    Insert { at: u16, byte: u8 },
    Other { bytes: Vec<u8> },
}

impl Change {
    /// `None` for a file that is as it was.
    fn apply(&self, mut file: Vec<u8>) -> Option<Vec<u8>> {
        let before = file.clone();
        let place = |at: u16, len: usize| usize::from(at) % len.max(1);
        let len = file.len();
        match self {
            Self::None => {}
            Self::Flip { at, bit } if len > 0 => file[place(*at, len)] ^= 1 << (bit % 8),
            Self::Flip { .. } => {}
            Self::Cut { at } => file.truncate(place(*at, len)),
            Self::Append { bytes } => file.extend_from_slice(bytes),
            Self::Insert { at, byte } => file.insert(place(*at, len), *byte),
            Self::Other { bytes } => file.clone_from(bytes),
        }
        (file != before).then_some(file)
    }
}

#[test]
fn codec() {
    let dir = tempfile::tempdir().expect("a directory");
    target!(Written, 600, |written| {
        let form = written.form % FORMS;
        let place = dir.path().join(form.to_string());
        let value = Value::new(written.head.clone(), written.body.clone());
        let writer = store(&place, form);
        if written.streamed {
            let writer = block_on(writer.create("key", value.head.clone())).expect("a writer");
            let writer = block_on(writer.write(value.body.clone())).expect("room");
            block_on(writer.commit()).expect("room");
        } else {
            block_on(writer.put("key", value.clone())).expect("room");
        }
        assert_eq!(get(&*writer, "key").as_ref(), Some(&value));
        assert_eq!(get(&*store(&place, form), "key").as_ref(), Some(&value));
        let mut files = place.read_dir().expect("the directory").flatten();
        let path = files
            .find(|entry| entry.path().is_file())
            .expect("a file")
            .path();
        let file = fs::read(&path).expect("a file");
        if let Some(changed) = written.change.apply(file) {
            fs::write(&path, changed).expect("room");
            let found = get(&*store(&place, form), "key");
            if has_sum(form) {
                assert_eq!(found, None);
            }
        }
    });
}
