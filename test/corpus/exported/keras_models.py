"""Exports Keras models with random weights, with tf2onnx."""

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import keras
import tensorflow as tf
import tf2onnx
from keras import layers


def _export(model, *shape, dtype=tf.float32):
    signature = [tf.TensorSpec([None, *shape], dtype)]
    call = tf.function(lambda x: model(x, training=False), input_signature=signature)
    return tf2onnx.convert.from_function(call, input_signature=signature, opset=15)[0]


def _sequential(*shape, then, **options):
    model = keras.Sequential([keras.Input(shape), *then])
    return _export(model, *shape, **options)


def _cnn():
    return _sequential(
        16,
        16,
        1,
        then=[
            layers.Conv2D(8, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.DepthwiseConv2D(3, strides=2, padding="same"),
            layers.Conv2DTranspose(4, 3, strides=2, padding="same"),
            layers.UpSampling2D(),
            layers.Flatten(),
            layers.Dense(5, "softmax"),
        ],
    )


def _text_cnn():
    then = [
        layers.Embedding(100, 16),
        layers.Conv1D(8, 3, padding="causal", activation="relu"),
        layers.GlobalMaxPooling1D(),
        layers.Dense(2, "softmax"),
    ]
    return _sequential(12, then=then, dtype=tf.int32)


def _attention():
    x = keras.Input((6, 16))
    attended = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 8)(x, x))
    y = layers.Dense(3)(layers.GlobalAveragePooling1D()(attended))
    return _export(keras.Model(x, y), 6, 16)


MODELS = {
    "keras-mlp": lambda: _sequential(
        4, then=[layers.Dense(16, "relu"), layers.BatchNormalization(), layers.Dense(3, "softmax")]
    ),
    "keras-cnn": _cnn,
    "keras-text-cnn": _text_cnn,
    "keras-attention": _attention,
    "keras-lstm": lambda: _sequential(6, 5, then=[layers.LSTM(8), layers.Dense(3)]),
    "keras-lstm-both-ways": lambda: _sequential(
        6, 5, then=[layers.Bidirectional(layers.LSTM(8, return_sequences=True))]
    ),
    "keras-gru": lambda: _sequential(6, 5, then=[layers.GRU(8), layers.Dense(3)]),
}
