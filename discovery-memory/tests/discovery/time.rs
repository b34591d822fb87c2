//! How long it is kept.

use std::time::{Duration, SystemTime};

use discovery_core::Format;
use discovery_core::sync::clock::ManualClock;
use discovery_memory::MemoryDiscoveryLayer;
use http::header::ACCEPT;

use crate::tools::*;

#[test]
fn for_ever_unless_a_time_is_set() {
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30);
    for ttl in [None, Some(60)] {
        let clock = ManualClock::new(start);
        let layer = MemoryDiscoveryLayer::new().clock(clock.clone());
        let layer = match ttl {
            Some(ttl) => layer.ttl(Duration::from_secs(ttl)),
            None => layer,
        };
        let (service, mut server) = world(&layer);
        let mut first = call(&service, get("/apis"));
        aggregated(&mut server);
        done(&mut first);
        // Not even a clock that is set back is a reason, unless it would be for long.
        clock.set(start - Duration::from_secs(60));
        done(&mut call(&service, get("/apis")));
        clock.set(start + Duration::from_secs(60));
        done(&mut call(&service, get("/apis")));
        idle(&mut server);
        clock.advance(Duration::from_nanos(1));
        let mut late = call(&service, get("/apis"));
        if ttl.is_some() {
            aggregated(&mut server);
        }
        assert_eq!(done(&mut late).status(), 200);
        // It starts anew from there.
        clock.advance(Duration::from_secs(60));
        done(&mut call(&service, get("/apis/a/v1")));
        idle(&mut server);
    }
}

#[test]
fn the_age_of_the_oldest_part_counts() {
    let clock = ManualClock::new(SystemTime::UNIX_EPOCH);
    let layer = MemoryDiscoveryLayer::new()
        .ttl(Duration::from_secs(60))
        .clock(clock.clone());
    let (service, mut server) = world(&layer);
    let mut groups = call(&service, get("/apis"));
    legacy(&mut server);
    done(&mut groups);
    clock.advance(Duration::from_secs(40));
    let mut single = call(&service, get("/apis/a/v1"));
    answer(&mut server, "/apis/a/v1", list());
    done(&mut single);
    clock.advance(Duration::from_secs(40));
    // The groups are too old, and all goes.
    let mut single = call(&service, get("/apis/a/v1"));
    answer(&mut server, "/apis/a/v1", list());
    done(&mut single);
    let mut groups = call(&service, get("/apis"));
    legacy(&mut server);
    done(&mut groups);
    // A complete snapshot has its own age, not that of the one before it.
    clock.advance(Duration::from_secs(40));
    let mut whole = call(&service, {
        let mut request = get("/apis");
        request
            .headers_mut()
            .insert(ACCEPT, Format::V2.content_type().parse().unwrap());
        request
    });
    aggregated(&mut server);
    done(&mut whole);
    clock.advance(Duration::from_secs(60));
    done(&mut call(&service, get("/apis/a/v1")));
    idle(&mut server);
}

/// Otherwise what is known would be kept for as long as the clock was set back.
#[test]
fn a_clock_that_is_set_back() {
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30);
    for (ttl, is_asked) in [(None, false), (Some(60), true)] {
        let clock = ManualClock::new(start);
        let layer = MemoryDiscoveryLayer::new().clock(clock.clone());
        let layer = match ttl {
            Some(ttl) => layer.ttl(Duration::from_secs(ttl)),
            None => layer,
        };
        let (service, mut server) = world(&layer);
        let mut first = call(&service, get("/apis"));
        aggregated(&mut server);
        done(&mut first);
        clock.set(start - Duration::from_secs(61));
        let mut second = call(&service, get("/apis"));
        if is_asked {
            aggregated(&mut server);
        }
        assert_eq!(done(&mut second).status(), 200);
        idle(&mut server);
    }
}

/// A time to live that goes beyond all time never ends.
#[test]
fn the_longest_time_to_live() {
    let clock = ManualClock::new(SystemTime::UNIX_EPOCH);
    let layer = MemoryDiscoveryLayer::new()
        .ttl(Duration::MAX)
        .clock(clock.clone());
    let (service, mut server) = world(&layer);
    let mut first = call(&service, get("/apis"));
    aggregated(&mut server);
    done(&mut first);
    clock.advance(Duration::from_secs(1 << 40));
    done(&mut call(&service, get("/apis")));
    idle(&mut server);
}
