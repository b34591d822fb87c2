//! A server that asks for patience.

use std::{future, sync::Arc, time::Duration};

use discovery_client::retry::RetryAfterLayer;
use embedded_apiserver::{Canned, EmbeddedServer, Fault};
use http::StatusCode;

use super::{
    events::Noted,
    rig::{EVERY, Program, Rig, failed},
};

/// A program that notes how long it would wait.
fn patient(rig: &Rig) -> (Program, Arc<Noted<Duration>>) {
    let waits = Arc::new(Noted::default());
    let notes = Arc::clone(&waits);
    let retry = RetryAfterLayer::new().sleep(move |duration| {
        notes.push(duration);
        Box::pin(future::ready(()))
    });
    (rig.program_of(rig.stack().retry(retry)), waits)
}

fn busy(status: StatusCode, seconds: u32) -> Fault {
    Fault::Answer(Canned::status(status).retry_after(seconds))
}

#[tokio::test]
async fn groups_come_after_the_waits_that_the_server_asks_for() {
    for (wire, order) in EVERY {
        let rig = Rig::new(wire, order, EmbeddedServer::builder()).await;
        rig.control
            .set_fault_times("/apis", busy(StatusCode::SERVICE_UNAVAILABLE, 7), 2);
        rig.control
            .set_fault_times("/api", busy(StatusCode::TOO_MANY_REQUESTS, 3), 1);
        let (program, waits) = patient(&rig);
        assert!(program.discover().await.snapshot.is_complete());
        let mut waits = waits.take();
        waits.sort();
        assert_eq!(waits, [3, 7, 7].map(Duration::from_secs));
        let counters = rig.control.counters();
        assert_eq!((counters.path("/api"), counters.path("/apis")), (2, 3));
        assert_eq!(rig.entries().names().len(), 2);
    }
}

#[tokio::test]
async fn patience_ends() {
    for (wire, order) in EVERY {
        let rig = Rig::new(wire, order, EmbeddedServer::builder().legacy_only(true)).await;
        rig.control
            .fail_group_version("apps/v1", StatusCode::TOO_MANY_REQUESTS, Some(1));
        let (program, waits) = patient(&rig);
        let partial = program.discover().await;
        assert_eq!(failed(&partial), ["apps/v1"]);
        let code = partial.failed["apps/v1"].code();
        assert_eq!(code, Some(StatusCode::TOO_MANY_REQUESTS));
        assert_eq!(waits.take(), [Duration::from_secs(1); 10]);
        assert_eq!(rig.control.counters().path("/apis/apps/v1"), 11);
    }
}

#[tokio::test]
async fn an_answer_that_asks_for_no_repeat_is_not_repeated() {
    let rig = Rig::plain(EmbeddedServer::builder()).await;
    let past = http::HeaderValue::from_static("Wed, 21 Oct 2015 07:28:00 GMT");
    let dated =
        Canned::status(StatusCode::SERVICE_UNAVAILABLE).header(http::header::RETRY_AFTER, past);
    for canned in [
        Canned::status(StatusCode::SERVICE_UNAVAILABLE),
        dated,
        Canned::status(StatusCode::FORBIDDEN).retry_after(1),
    ] {
        rig.control.set_fault("/apis", Fault::Answer(canned));
        let (program, waits) = patient(&rig);
        assert!(program.client.discover().await.is_err());
        assert!(waits.take().is_empty());
    }
}
