use std::collections::HashMap;

use super::Suite;
use super::tools::{Random, create, get, put, remove, write};
use crate::store::{Store, Value, Writer};

/// Does what a hash map does, over thousands of operations that `seed` determines.
pub async fn model(store: &dyn Store, suite: &Suite, seed: u64) {
    let mut random = Random::new(seed);
    let mut expected = HashMap::<String, Value>::new();
    let mut writers = Vec::<(String, Vec<u8>, Box<dyn Writer>)>::new();
    for step in 0..1500 {
        let key = format!("key/{}", random.below(24));
        let what = format!("seed {seed}, step {step}, {key}");
        match random.below(10) {
            0..=3 => suite.expect(get(store, &key).await.as_ref(), expected.get(&key), &what),
            4 | 5 => {
                let value = random.value(2000);
                put(store, &key, &value).await;
                expected.insert(key, value);
            }
            6 => {
                remove(store, &key).await;
                expected.remove(&key);
            }
            7 => {
                let value = random.value(2000);
                let writer = create(store, &key, value.head.clone()).await;
                let writer = write(writer, value.body.clone()).await;
                writers.push((key, value.into_bytes().to_vec(), writer));
            }
            8 if !writers.is_empty() => {
                let (key, mut bytes, writer) = writers.swap_remove(random.below(writers.len()));
                let more = random.bytes(30);
                let writer = write(writer, more.clone()).await;
                bytes.extend_from_slice(&more);
                writer.commit().await.expect("commit");
                expected.insert(key, Value::new("", bytes));
            }
            9 if !writers.is_empty() => {
                drop(writers.swap_remove(random.below(writers.len())));
            }
            _ => {}
        }
    }
    drop(writers);
    for at in 0..24 {
        let key = format!("key/{at}");
        let what = format!("seed {seed}, at the end, {key}");
        suite.expect(get(store, &key).await.as_ref(), expected.get(&key), &what);
    }
}
