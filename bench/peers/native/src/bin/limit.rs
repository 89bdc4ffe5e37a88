// ! The upper limit of a native server: hyper on one thread, serde_json, one run per request, no checks, joining or metrics.

use std::convert::Infallible;
use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use native_peers::{Classifier, Data, variable};
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
struct Answer<'a> {
    model_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    outputs: Vec<Output<'a>>,
}

#[derive(Serialize)]
struct Output<'a> {
    name: &'a str,
    datatype: &'static str,
    shape: Vec<usize>,
    data: Data,
}

async fn answer(request: Request<Incoming>, classifier: Arc<Classifier>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.expect("the client sends its body").to_bytes();
    let Ok(Asked { id, inputs: [input] }) = serde_json::from_slice(&body) else {
        return Ok(Response::builder().status(400).body(Full::default()).expect("a response"));
    };
    let (rows, data) = classifier.run(&input.data, &classifier.outputs).expect("the model runs");
    let outputs = classifier.outputs.iter().zip(data).map(|(output, data)| {
        let mut shape = vec![rows];
        shape.extend(&output.row);
        Output { name: &output.name, datatype: output.datatype, shape, data }
    });
    let answer = Answer { model_name: &classifier.name, id, outputs: outputs.collect() };
    let json = serde_json::to_vec(&answer).expect("JSON");
    Ok(Response::builder()
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(json)))
        .expect("a response"))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let classifier = Arc::new(Classifier::load()?);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", variable("PORT").parse()?)).await?;
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let classifier = classifier.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, classifier.clone()));
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
        });
    }
}
