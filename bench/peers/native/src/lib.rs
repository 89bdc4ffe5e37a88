//! Runs a model with one FP32 input in ONNX Runtime: one thread, one run per request.

use std::sync::Mutex;

use ort::session::Session;
use ort::value::{Outlet, TensorElementType, TensorRef, ValueType};
use serde::Serialize;

pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

/// An input or output. `row` is the shape of one row.
#[derive(Clone)]
pub struct Spec {
    pub name: String,
    pub datatype: &'static str,
    pub row: Vec<usize>,
}

impl Spec {
    fn of(outlet: &Outlet) -> Self {
        let ValueType::Tensor { ty, shape, .. } = outlet.dtype() else {
            panic!("{} is not a tensor", outlet.name())
        };
        let datatype = match ty {
            TensorElementType::Float32 => "FP32",
            TensorElementType::Int64 => "INT64",
            TensorElementType::String => "BYTES",
            other => panic!("{} has type {other:?}", outlet.name()),
        };
        let row = shape.iter().skip(1).map(|&length| length as usize).collect();
        Self { name: outlet.name().into(), datatype, row }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
pub enum Data {
    Fp32(Vec<f32>),
    Int64(Vec<i64>),
    Bytes(Vec<String>),
}

pub struct Classifier {
    session: Mutex<Session>,
    pub name: String,
    pub input: Spec,
    pub outputs: Vec<Spec>,
}

impl Classifier {
    /// Loads the model in MODEL_DIR. ORT_DYLIB_PATH is the path of the ONNX Runtime library.
    pub fn load() -> ort::Result<Self> {
        let environment = ort::init().build()?;
        let mut builder = Session::builder(&environment)?.with_intra_threads(1)?.with_inter_threads(1)?;
        let session = builder.commit_from_file(format!("{}/model.onnx", variable("MODEL_DIR")))?;
        let input = Spec::of(&session.inputs()[0]);
        let outputs = session.outputs().iter().map(Spec::of).collect();
        let name = std::env::var("MODEL_NAME").unwrap_or_else(|_| "iris-classifier".into());
        Ok(Self { session: Mutex::new(session), name, input, outputs })
    }

    pub fn run(&self, data: &[f32], outputs: &[Spec]) -> ort::Result<(usize, Vec<Data>)> {
        let mut session = self.session.lock().expect("no run panics");
        let rows = data.len() / self.input.row.iter().product::<usize>();
        let mut shape = vec![rows];
        shape.extend(&self.input.row);
        let tensor = TensorRef::from_array_view((shape, data))?;
        let values = session.run(ort::inputs![self.input.name.as_str() => tensor])?;
        let data = outputs.iter().map(|Spec { name, datatype, .. }| {
            let value = &values[name.as_str()];
            Ok(match *datatype {
                "FP32" => Data::Fp32(value.try_extract_tensor::<f32>()?.1.to_vec()),
                "INT64" => Data::Int64(value.try_extract_tensor::<i64>()?.1.to_vec()),
                _ => Data::Bytes(value.try_extract_strings()?.1),
            })
        });
        Ok((rows, data.collect::<ort::Result<_>>()?))
    }
}
