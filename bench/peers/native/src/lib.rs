//! The shipped iris classifier in ONNX Runtime, as each native peer runs it: one thread, one run a request.

use std::sync::Mutex;

use ort::session::Session;
use ort::value::TensorRef;

pub const NAME: &str = "iris-classifier";

pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

pub struct Iris(Mutex<Session>);

pub struct Classes {
    pub probabilities: Vec<f32>,
    pub labels: Vec<String>,
}

impl Iris {
    /// ORT_DYLIB_PATH names the library, MODEL_DIR the model.
    pub fn load() -> ort::Result<Self> {
        let environment = ort::init().build()?;
        let mut builder = Session::builder(&environment)?.with_intra_threads(1)?.with_inter_threads(1)?;
        let session = builder.commit_from_file(format!("{}/model.onnx", variable("MODEL_DIR")))?;
        Ok(Self(Mutex::new(session)))
    }

    /// `data` has four numbers per row.
    pub fn run(&self, data: &[f32], with_labels: bool) -> ort::Result<Classes> {
        let mut session = self.0.lock().expect("no run panics");
        let input = TensorRef::from_array_view(([data.len() / 4, 4], data))?;
        let outputs = session.run(ort::inputs!["input" => input])?;
        let (_, probabilities) = outputs["probabilities"].try_extract_tensor::<f32>()?;
        let labels = if with_labels {
            outputs["predicted_class"].try_extract_strings()?.1
        } else {
            Vec::new()
        };
        Ok(Classes { probabilities: probabilities.to_vec(), labels })
    }
}
