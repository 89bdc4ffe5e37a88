//! furnace-server, a Rust server for KServe's protocol, with a TensorModel over ONNX Runtime. It does not support
//! strings, so string outputs are omitted.

use furnace::{DataType, HostTensor, IoSpec, Model, ModelError, Server, TensorModel, Values};
use native_peers::{Classifier, Data, Spec, variable};

struct Tensors {
    classifier: Classifier,
    outputs: Vec<Spec>,
}

impl Tensors {
    fn load() -> ort::Result<Self> {
        let classifier = Classifier::load()?;
        let outputs = classifier.outputs.iter().filter(|output| output.datatype != "BYTES").cloned().collect();
        Ok(Self { classifier, outputs })
    }
}

impl std::fmt::Debug for Tensors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.classifier.name)
    }
}

fn io_spec(Spec { name, datatype, row }: &Spec) -> IoSpec {
    let shape: Vec<_> = row.iter().map(|&length| Some(length)).collect();
    IoSpec::new(name, if *datatype == "FP32" { DataType::Fp32 } else { DataType::Int64 }, &shape)
}

impl TensorModel for Tensors {
    fn name(&self) -> &str {
        &self.classifier.name
    }

    fn backend(&self) -> &str {
        "cpu"
    }

    fn inputs(&self) -> Vec<IoSpec> {
        vec![io_spec(&self.classifier.input)]
    }

    fn outputs(&self) -> Vec<IoSpec> {
        self.outputs.iter().map(io_spec).collect()
    }

    fn run(&self, inputs: Vec<HostTensor>) -> furnace::Result<Vec<HostTensor>> {
        let [HostTensor { values: Values::F32(values), .. }] = &inputs[..] else {
            unreachable!("checked against inputs()")
        };
        let ran = self.classifier.run(values, &self.outputs);
        let (rows, data) = ran.map_err(|error| ModelError::InferenceFailed(error.to_string()))?;
        let tensors = self.outputs.iter().zip(data).map(|(output, data)| {
            let values = match data {
                Data::Fp32(values) => Values::F32(values),
                Data::Int64(values) => Values::I64(values),
                Data::Bytes(_) => unreachable!("outputs of text are omitted"),
            };
            let mut shape = vec![rows];
            shape.extend(&output.row);
            HostTensor { shape, values }
        });
        Ok(tensors.collect())
    }
}

// The maximum number of items in a batch; 1 turns batching off.
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let batch = variable("FURNACE_BATCH").parse()?;
    let grpc_port = std::env::var("GRPC_PORT").ok().map(|port| port.parse()).transpose()?;
    let server = Server::new()
        .max_batch_size(batch)
        .configure(|config| {
            config.grpc_port = grpc_port;
            // The default of 100 is less than the number of connections that the benchmark opens.
            config.max_concurrent_requests = 4_096;
        })
        .model(Model::custom(Tensors::load()?));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", variable("PORT").parse()?)).await?;
    axum::serve(listener, server.router()?).await?;
    Ok(())
}
