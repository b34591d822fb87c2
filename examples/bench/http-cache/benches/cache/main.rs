//! Times of the HTTP cache beside its peers, by criterion. `run` prints them as a table.

#![allow(missing_docs, reason = "criterion's macros make functions")]

mod disk_hit;
mod memory_hit;
mod miss;
mod revalidation;

criterion::criterion_group!(
    benches,
    memory_hit::bench,
    disk_hit::bench,
    miss::bench,
    revalidation::bench
);
criterion::criterion_main!(benches);
