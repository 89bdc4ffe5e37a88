//! furnace-server, which speaks KServe's protocol in Rust, with a TensorModel over ONNX Runtime. It has no texts: probabilities alone.

use furnace::{HostTensor, IoSpec, Model, ModelError, Server, TensorModel, Values};
use native_peers::{Iris, NAME, variable};

struct Classifier(Iris);

impl std::fmt::Debug for Classifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(NAME)
    }
}

impl TensorModel for Classifier {
    fn name(&self) -> &str {
        NAME
    }

    fn backend(&self) -> &str {
        "cpu"
    }

    fn inputs(&self) -> Vec<IoSpec> {
        vec![IoSpec::fp32("input", &[4])]
    }

    fn outputs(&self) -> Vec<IoSpec> {
        vec![IoSpec::fp32("probabilities", &[3])]
    }

    fn run(&self, inputs: Vec<HostTensor>) -> furnace::Result<Vec<HostTensor>> {
        let [HostTensor { shape, values: Values::F32(values) }] = &inputs[..] else {
            unreachable!("checked against inputs()")
        };
        let classes = self.0.run(values, false).map_err(|error| ModelError::InferenceFailed(error.to_string()))?;
        Ok(vec![HostTensor { shape: vec![shape[0], 3], values: Values::F32(classes.probabilities) }])
    }
}

/// FURNACE_BATCH: the most items in one batch; 1 turns batching off.
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let batch = variable("FURNACE_BATCH").parse()?;
    let grpc_port = std::env::var("GRPC_PORT").ok().map(|port| port.parse()).transpose()?;
    let server = Server::new()
        .max_batch_size(batch)
        .configure(|config| {
            config.grpc_port = grpc_port;
            // The benchmark opens more connections than the default of 100 requests.
            config.max_concurrent_requests = 4_096;
        })
        .model(Model::custom(Classifier(Iris::load()?)));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", variable("PORT").parse()?)).await?;
    axum::serve(listener, server.router()?).await?;
    Ok(())
}
