//! How does a target make a gRPC call with as little work of its own as can be?

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::{Buf, BufMut, Bytes};
use http::uri::PathAndQuery;
use tonic::{
    Request, Status, Streaming,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap},
    transport::{Channel, Endpoint},
};

use crate::{Outcome, figures::process::Watched, load::Target};

/// The message of each call, by its number.
pub type Message = Arc<dyn Fn(u64) -> Bytes + Send + Sync>;

/// What goes before a message.
pub type Metadata = Vec<(&'static str, String)>;

/// A method that is called over several connections.
pub struct Method {
    pub name: String,
    pub address: SocketAddr,
    pub path: &'static str,
    pub metadata: Metadata,
    pub message: Message,
    pub watched: Vec<Watched>,
}

impl Method {
    /// Connects, and is ready to be driven.
    pub async fn target(self, connections: u32) -> Outcome<Target> {
        let mut channels = Vec::new();
        for _ in 0..connections {
            channels.push(connect(self.address).await?);
        }
        let metadata = metadata_map(&self.metadata)?;
        let (path, message) = (PathAndQuery::from_static(self.path), self.message);
        let call = move |caller: usize, number: u64| {
            let channel = channels[caller % channels.len()].clone();
            let mut request = Request::new(message(number));
            *request.metadata_mut() = metadata.clone();
            let path = path.clone();
            let answer: futures::future::BoxFuture<'static, Result<(), String>> =
                Box::pin(async move {
                    call(channel, request, path).await.map(drop).map_err(|status| said(&status))
                });
            answer
        };
        Ok(Target { name: self.name, call: Arc::new(call), watched: self.watched })
    }
}

/// One call, of which only the outcome matters.
pub async fn once(
    channel: Channel,
    path: &'static str,
    metadata: &Metadata,
    message: Bytes,
) -> Result<(), Status> {
    let mut request = Request::new(message);
    *request.metadata_mut() =
        metadata_map(metadata).map_err(|error| Status::internal(error.to_string()))?;
    call(channel, request, PathAndQuery::from_static(path)).await.map(drop)
}

/// A stream of answers that is open.
pub struct OpenStream(Streaming<Bytes>);

impl OpenStream {
    /// Whether it is still there: it says so by itself every ten seconds or so.
    pub async fn is_open(&mut self) -> bool {
        let said = tokio::time::timeout(Duration::from_secs(30), self.0.message()).await;
        matches!(said, Ok(Ok(Some(_))))
    }
}

/// Opens a stream, and waits for its first message.
pub async fn open_stream(
    channel: Channel,
    path: &'static str,
    metadata: &Metadata,
    message: Bytes,
) -> Result<OpenStream, Status> {
    let mut request = Request::new(message);
    *request.metadata_mut() =
        metadata_map(metadata).map_err(|error| Status::internal(error.to_string()))?;
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = PathAndQuery::from_static(path);
    let mut stream = grpc.server_streaming(request, path, Raw).await?.into_inner();
    stream.message().await?;
    Ok(OpenStream(stream))
}

fn metadata_map(metadata: &Metadata) -> Outcome<MetadataMap> {
    let mut map = MetadataMap::new();
    for (name, value) in metadata {
        let value: AsciiMetadataValue = value.parse()?;
        map.insert(AsciiMetadataKey::from_static(name), value);
    }
    Ok(map)
}

pub async fn connect(address: SocketAddr) -> Outcome<Channel> {
    Ok(Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true).connect().await?)
}

async fn call(
    channel: Channel,
    request: Request<Bytes>,
    path: PathAndQuery,
) -> Result<Bytes, Status> {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    Ok(grpc.unary(request, path, Raw).await?.into_inner())
}

fn said(status: &Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}

/// Takes messages as they are: encoding them is no work of the subject's.
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
