//! The upper limit of a native server: hyper on one thread, serde_json, one run per request. It checks, joins and counts nothing.

use std::convert::Infallible;
use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use native_peers::{Iris, NAME, variable};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Asked {
    id: Option<String>,
    inputs: [Input; 1],
}

#[derive(Deserialize)]
struct Input {
    data: Vec<f32>,
}

#[derive(Serialize)]
struct Answer {
    model_name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    outputs: (Output<f32>, Output<String>),
}

#[derive(Serialize)]
struct Output<T> {
    name: &'static str,
    datatype: &'static str,
    shape: Vec<usize>,
    data: Vec<T>,
}

async fn answer(request: Request<Incoming>, iris: Arc<Iris>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.expect("the client sends its body").to_bytes();
    let Ok(Asked { id, inputs: [input] }) = serde_json::from_slice(&body) else {
        return Ok(Response::builder().status(400).body(Full::default()).expect("a response"));
    };
    let rows = input.data.len() / 4;
    let classes = iris.run(&input.data, true).expect("the model runs");
    let outputs = (
        Output { name: "probabilities", datatype: "FP32", shape: vec![rows, 3], data: classes.probabilities },
        Output { name: "predicted_class", datatype: "BYTES", shape: vec![rows], data: classes.labels },
    );
    let json = serde_json::to_vec(&Answer { model_name: NAME, id, outputs }).expect("JSON");
    Ok(Response::builder()
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(json)))
        .expect("a response"))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let iris = Arc::new(Iris::load()?);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", variable("PORT").parse()?)).await?;
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let iris = iris.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, iris.clone()));
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
        });
    }
}
