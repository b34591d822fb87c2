//! `caching-proxy` as a program, between clients and servers that write their own bytes.

mod framing;
mod origin;
mod program;
mod trouble;

/// The README's first command shows this.
#[test]
fn a_slow_server_of_its_own_is_asked_once() {
    let proxy = program::Proxy::start(&["--demo"]);
    let first = proxy.get("/page");
    assert_eq!(
        (first.status, &*first.body),
        (Some(200), "a slow answer to /page\n")
    );
    assert!(first.fields.contains("fwd=uri-miss"), "{}", first.fields);
    let second = proxy.get("/page");
    assert_eq!(second.body, first.body);
    assert!(
        second.fields.contains("caching-proxy; hit"),
        "{}",
        second.fields
    );
}
