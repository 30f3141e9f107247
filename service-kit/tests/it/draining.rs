//! How does a server go, and does it take anybody with it?

use std::time::{Duration, Instant};

use futures::StreamExt;
use service_kit::error::Error;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::harness::{Plan, echo, handler, request};

fn taking(time: Duration) -> crate::harness::Behaviour {
    handler(move |text| async move {
        tokio::time::sleep(time).await;
        Ok::<_, Error>(text)
    })
}

#[tokio::test]
async fn what_is_in_flight_is_finished() {
    let mut server = Plan::new(taking(Duration::from_millis(300))).start().await;
    let mut client = server.client().await;
    let call = tokio::spawn(async move { client.export(request("x")).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.stop.cancel();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(tokio::net::TcpStream::connect(server.address).await.is_err(), "nobody else is let in");
    assert!(call.await.unwrap().is_ok());
    (&mut server.served).await.unwrap();
}

#[tokio::test]
async fn what_takes_longer_than_the_drain_is_cut_off() {
    let mut server = Plan::with(taking(Duration::from_secs(60)), |settings| {
        settings.drain = Duration::from_millis(200);
        settings.request_timeout = Duration::from_secs(60);
    })
    .start()
    .await;
    let mut client = server.client().await;
    let call = tokio::spawn(async move { client.export(request("x")).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let began = Instant::now();
    server.stop.cancel();
    (&mut server.served).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(call.await.unwrap().is_err());
}

#[tokio::test]
async fn whoever_watches_hears_it_first_and_holds_nobody_up() {
    let mut server = Plan::new(echo()).start().await;
    let mut health = HealthClient::new(server.channel().await);
    let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.next().await.unwrap().unwrap().status, 1);
    let began = Instant::now();
    server.stop.cancel();
    assert_eq!(watch.next().await.unwrap().unwrap().status, 2);
    assert!(watch.next().await.is_none(), "it ends, and ends well");
    (&mut server.served).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}
