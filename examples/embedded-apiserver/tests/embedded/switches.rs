//! Switches that are turned while the server runs.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use embedded_apiserver::EmbeddedServer;
use http::StatusCode;

use super::client::{KUBECTL, V2, V2BETA1, accept, begin, get, until};

#[tokio::test]
async fn odd_servers() {
    let server = EmbeddedServer::builder().start().await.unwrap();
    let control = server.control();
    control.set_legacy_path("/apis", true);
    let form = async |path: &str, asked: &str| {
        let reply = accept(&server, path, asked).await;
        (
            reply.status.as_u16(),
            reply.header("content-type").to_owned(),
        )
    };
    let json = || "application/json".to_owned();
    assert_eq!(form("/apis", KUBECTL).await, (200, json()));
    assert_eq!(form("/api", KUBECTL).await, (200, V2.to_owned()));
    control.set_legacy_path("/apis", false);
    assert_eq!(form("/apis", KUBECTL).await, (200, V2.to_owned()));

    control.set_refuses_aggregated(true);
    assert_eq!(form("/apis", KUBECTL).await.0, 406);
    assert_eq!(form("/apis", "application/json").await, (200, json()));
    control.set_refuses_aggregated(false);

    control.set_ignores_accept(true);
    assert_eq!(form("/api", "application/json").await, (200, V2.to_owned()));
    control.set_ignores_accept(false);
}

#[tokio::test]
async fn forms_of_other_servers() {
    let server = EmbeddedServer::builder()
        .legacy_only(true)
        .start()
        .await
        .unwrap();
    let control = server.control();
    for path in ["/api", "/apis"] {
        let reply = accept(&server, path, KUBECTL).await;
        assert_eq!(reply.header("content-type"), "application/json");
        assert_eq!(
            accept(&server, path, V2).await.status,
            StatusCode::NOT_ACCEPTABLE
        );
    }

    control.set_v2beta1(true);
    let both = format!("{V2},{V2BETA1},application/json");
    let beta = accept(&server, "/apis", &both).await;
    assert_eq!(beta.header("content-type"), V2BETA1);
    assert_eq!(
        accept(&server, "/apis", V2).await.status,
        StatusCode::NOT_ACCEPTABLE
    );

    control.set_v2(true);
    // Of the two forms nothing but the name differs.
    for path in ["/api", "/apis"] {
        let beta = accept(&server, path, V2BETA1).await;
        let v2 = accept(&server, path, V2).await;
        let renamed = v2.text().replacen(".io/v2", ".io/v2beta1", 1);
        assert_eq!(beta.text(), renamed);
        assert_eq!(beta.json()["apiVersion"], "apidiscovery.k8s.io/v2beta1");
        assert_ne!(beta.etag(), v2.etag());
    }
    assert_eq!(
        accept(&server, "/apis", &both).await.header("content-type"),
        V2
    );
    assert_eq!(
        accept(&server, "/apis", V2BETA1)
            .await
            .header("content-type"),
        V2BETA1
    );
    control.set_legacy_only(true);
    assert_eq!(
        accept(&server, "/apis", &both).await.header("content-type"),
        "application/json"
    );
}

#[tokio::test]
async fn the_builder_has_the_same_switches() {
    let builder = EmbeddedServer::builder;
    for (builder, forms) in [
        (builder(), [V2, "", V2]),
        (builder().v2beta1(true), [V2, V2BETA1, V2]),
        (builder().legacy_only(true), ["", "", "application/json"]),
        // The later one counts.
        (
            builder().v2beta1(true).legacy_only(true),
            ["", "", "application/json"],
        ),
        (
            builder().legacy_only(true).v2beta1(true),
            ["", V2BETA1, V2BETA1],
        ),
        (builder().legacy_only(true).legacy_only(false), [V2, "", V2]),
    ] {
        let what = format!("{builder:?}");
        let server = builder.start().await.unwrap();
        let any = format!("{V2},{V2BETA1},application/json");
        for (asked, form) in [V2, V2BETA1, &any].into_iter().zip(forms) {
            let reply = accept(&server, "/apis", asked).await;
            if form.is_empty() {
                assert_eq!(reply.status, StatusCode::NOT_ACCEPTABLE, "{what}");
            } else {
                assert_eq!(reply.header("content-type"), form, "{what}");
            }
        }
    }
}

#[tokio::test]
async fn requests_can_be_held() {
    let server = EmbeddedServer::builder().start().await.unwrap();
    let control = server.control();
    let (api, apis) = (control.hold("/api"), control.hold("/apis"));
    let both = async {
        tokio::join!(accept(&server, "/api", V2), accept(&server, "/apis", V2));
    };
    let release = async {
        until(&control, |counters| {
            counters.path("/api") == 1 && counters.path("/apis") == 1
        })
        .await;
        api.release();
        until(&control, |counters| counters.in_flight == 1).await;
        apis.release();
    };
    tokio::join!(both, release);

    let counters = control.counters();
    assert_eq!((counters.total, counters.max_in_flight), (2, 2));
    let log = control.log();
    assert!(log[0].overlaps(&log[1]) && log[1].overlaps(&log[0]));
    accept(&server, "/api", V2).await;
    let log = control.log();
    assert!(!log[0].overlaps(&log[2]) && !log[2].overlaps(&log[0]));
}

#[tokio::test]
async fn the_later_hold_counts() {
    let server = EmbeddedServer::builder().start().await.unwrap();
    let control = server.control();
    let (first, second) = (control.hold("/api"), control.hold("/api"));
    drop(first);
    let address = server.addr();
    let asked = tokio::spawn(async move { begin(address, "GET", "/api", &[]).await });
    until(&control, |counters| counters.path("/api") == 1).await;
    get(&server, "/apis", &[]).await;
    assert_eq!(control.counters().in_flight, 1);
    drop(second);
    assert_eq!(asked.await.unwrap().unwrap().status(), StatusCode::OK);

    // Nothing is left of it.
    assert_eq!(get(&server, "/api", &[]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn latency() {
    let server = EmbeddedServer::builder()
        .latency(Duration::from_millis(1))
        .start()
        .await
        .unwrap();
    let control = server.control();
    assert_eq!(get(&server, "/api", &[]).await.status, StatusCode::OK);

    control.set_latency(Duration::from_secs(24 * 60 * 60));
    let address = server.addr();
    let late = tokio::spawn(async move { begin(address, "GET", "/apis", &[]).await.is_ok() });
    until(&control, |counters| counters.path("/apis") == 1).await;
    // Answered while the other one waits: its turn is later, whatever was set since.
    control.set_latency(Duration::ZERO);
    assert_eq!(get(&server, "/api", &[]).await.status, StatusCode::OK);
    assert_eq!(control.counters().in_flight, 1);
    assert!(!late.is_finished());
}

#[tokio::test]
async fn headers_by_switch() {
    let server = EmbeddedServer::builder()
        .vary_authorization(true)
        .start()
        .await
        .unwrap();
    let control = server.control();
    assert_eq!(
        accept(&server, "/apis", V2).await.header("vary"),
        "Accept|Authorization"
    );
    assert_eq!(
        get(&server, "/version", &[]).await.header("vary"),
        "Authorization"
    );
    let etag = accept(&server, "/apis", V2).await.etag();
    let headers = [("accept", V2), ("if-none-match", etag.as_str())];
    let unchanged = get(&server, "/apis", &headers).await;
    assert_eq!(unchanged.status, StatusCode::NOT_MODIFIED);
    assert_eq!(unchanged.header("vary"), "Accept|Authorization");
    control.set_vary_authorization(false);
    assert!(!get(&server, "/version", &[]).await.has("vary"));
    assert_eq!(
        get(&server, "/apis", &headers).await.header("vary"),
        "Accept"
    );
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The URL of an OpenAPI document that expires.
async fn hashed(server: &EmbeddedServer) -> String {
    let index = get(server, "/openapi/v3", &[]).await.json();
    let url = &index["paths"]["version"]["serverRelativeURL"];
    url.as_str().expect("a URL").to_owned()
}

#[tokio::test]
async fn the_clock_may_be_wrong() {
    let server = EmbeddedServer::builder().start().await.unwrap();
    let control = server.control();
    let url = hashed(&server).await;
    let parse = |date: &str| httpdate::parse_http_date(date).expect("a date");
    for (days, seconds) in [(1, 86_400), (-1, -86_400), (-400, -400 * 86_400)] {
        control.set_clock_offset(seconds);
        let reply = get(&server, &url, &[]).await;
        let shift = |instant: SystemTime| match u32::try_from(days) {
            Ok(days) => instant + DAY * days,
            Err(_) => instant - DAY * i32::unsigned_abs(days),
        };
        let near = |date: &str, expected: SystemTime| {
            let date = parse(date);
            assert!(
                date > expected - DAY / 24 && date < expected + DAY / 24,
                "{date:?} {expected:?}"
            );
        };
        let now = SystemTime::now();
        near(&reply.header("date"), shift(now));
        near(&reply.header("last-modified"), shift(now));
        let expires = reply.header("expires").replace("UTC", "GMT");
        near(&expires, shift(now) + DAY * 365);
    }
}

#[tokio::test]
async fn a_clock_beyond_all_dates() {
    let server = EmbeddedServer::builder().start().await.unwrap();
    let control = server.control();
    let url = hashed(&server).await;
    let (first, last) = (
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Fri, 31 Dec 9999 23:59:59 GMT",
    );
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let now = i64::try_from(now).unwrap();
    for (seconds, date) in [
        (i64::MIN, first),
        (-now - 86_400, first),
        (i64::MAX, last),
        (253_402_300_800 - now, last),
    ] {
        control.set_clock_offset(seconds);
        let reply = get(&server, &url, &[]).await;
        assert_eq!(reply.status, StatusCode::OK, "{seconds}");
        assert_eq!(reply.header("date"), date, "{seconds}");
        assert_eq!(reply.header("last-modified"), date, "{seconds}");
        if date == last {
            assert_eq!(reply.header("expires"), date.replace("GMT", "UTC"));
        }
        assert_eq!(get(&server, "/openapi/v3", &[]).await.header("date"), date);
    }
}
