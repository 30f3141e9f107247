//! What happens to the call too many?

use std::{sync::Arc, time::Duration};

use tokio::sync::Semaphore;
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_types::StatusExt;

use crate::harness::{METHOD, Plan, Server, body, handler};

/// A server for one call at a time, and what lets that one call go on.
async fn busy_server() -> (Server, Arc<Semaphore>, tokio::task::JoinHandle<()>) {
    let go_on = Arc::new(Semaphore::new(0));
    let waiting = Arc::clone(&go_on);
    let (began, mut first_began) = tokio::sync::mpsc::channel(1);
    let behaviour = handler(move |text| {
        let (waiting, began) = (Arc::clone(&waiting), began.clone());
        async move {
            if text == "wait" {
                began.send(()).await.unwrap();
                waiting.acquire().await.unwrap().forget();
            }
            Ok(text)
        }
    });
    let server = Plan::with(behaviour, |settings| {
        settings.max_in_flight = 1;
        settings.admin_listen = Some(([127, 0, 0, 1], 0).into());
    })
    .start()
    .await;
    let mut client = server.client().await;
    let first = tokio::spawn(async move {
        client.export(crate::harness::request("wait")).await.unwrap();
    });
    first_began.recv().await.unwrap();
    (server, go_on, first)
}

/// Security checklist 46.
#[tokio::test]
async fn the_call_too_many_is_refused_at_once_and_told_when_to_return() {
    let (server, go_on, first) = busy_server().await;
    let answer = server.call_raw(METHOD, &[], body("second")).await;
    let (code, reason, _) = answer.refusal();
    assert_eq!((code, reason.as_str()), (Code::ResourceExhausted, "OVERLOADED"));
    assert_eq!(answer.header("retry-after"), "1");
    let retry = answer.grpc_status().get_details_retry_info().unwrap();
    assert_eq!(retry.retry_delay, Some(Duration::from_secs(1)));

    // Health is asked all the same.
    let mut health = HealthClient::new(server.channel().await);
    assert!(health.check(HealthCheckRequest::default()).await.is_ok());

    let page = server.admin_page("/metrics").await;
    let text = String::from_utf8_lossy(&page.body);
    assert!(text.contains("rpc_shed_total{service=\"test-service\"} 1"), "{text}");
    assert!(text.contains("reason=\"OVERLOADED\"} 1"), "{text}");
    assert!(text.contains("rpc_in_flight{service=\"test-service\"} 1"), "{text}");

    go_on.add_permits(1);
    first.await.unwrap();
    assert_eq!(server.say("third").await.unwrap(), "third", "there is room again");
}

#[tokio::test]
async fn a_stream_that_waits_keeps_nobody_out() {
    let server = Plan::with(crate::harness::echo(), |settings| {
        settings.max_in_flight = 1;
    })
    .start()
    .await;
    let mut reflection =
        tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient::new(
            server.channel().await,
        );
    let asking = futures::stream::pending();
    let _open = reflection.server_reflection_info(asking).await.unwrap();
    assert_eq!(server.say("hi").await.unwrap(), "hi");
}

#[tokio::test]
async fn a_caller_that_hangs_up_makes_room() {
    let (server, _go_on, first) = busy_server().await;
    first.abort();
    for _ in 0..100 {
        if server.say("next").await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the place of a caller that is gone stays taken");
}
