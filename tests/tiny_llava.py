"""A LLaVA small enough to be made, taught and run in seconds: CLIP sees 56 x 56 pixels, Llama has two layers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

TEMPLATE = (
    "{% for message in messages %}{{ '<s>' + message['role'] + ': ' }}"
    "{% for part in message['content'] %}"
    "{% if part['type'] in ('image', 'image_url') %}{{ '<image>\n' }}{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{{ '</s>' }}{% endfor %}{% if add_generation_prompt %}{{ '<s>assistant: ' }}{% endif %}"
)
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
SIDE, PATCH = 56, 14
WORDS = 2048


def tiny_llava(folder: Path, texts: Iterable[str], template: str = TEMPLATE, context: int = 4096) -> Path:
    """Write a LLaVA with random weights whose tokenizer was trained on `texts`."""
    import torch
    import transformers as tf
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    torch.manual_seed(3)
    tokenizer = _tokenizer(texts, template)
    vision = tf.CLIPVisionConfig(
        hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2, image_size=SIDE,
        patch_size=PATCH, projection_dim=64,
    )  # fmt: skip
    text = tf.LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, head_dim=64, max_position_embeddings=context, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    config = tf.LlavaConfig(
        vision_config=vision, text_config=text, image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=(SIDE // PATCH) ** 2, vision_feature_layer=-1,
    )  # fmt: skip
    config.pad_token_id = tokenizer.pad_token_id
    model = tf.LlavaForConditionalGeneration(config).eval()
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    pictures = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    tf.LlavaProcessor(
        image_processor=pictures, tokenizer=tokenizer, patch_size=PATCH, vision_feature_select_strategy="default",
        num_additional_image_tokens=1, chat_template=template,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def _tokenizer(texts: Iterable[str], template: str) -> Any:
    """Return a byte-level BPE tokenizer trained on some texts."""
    import transformers as tf
    from tokenizers import ByteLevelBPETokenizer

    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(texts, vocab_size=WORDS, special_tokens=["<pad>", "<s>", "</s>", "<unk>", "<image>"])
    return tf.PreTrainedTokenizerFast(
        tokenizer_object=bpe._tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>",
        additional_special_tokens=["<image>"], chat_template=template, padding_side="left", model_max_length=10**6,
    )  # fmt: skip


def teach(folder: Path, conversations: list[tuple[Any, str]], steps: int = 60, rate: float = 3e-3) -> float:
    """Train the model in `folder` to give each conversation its reply; returns the last loss."""
    import torch
    import transformers as tf

    torch.manual_seed(5)
    processor = tf.AutoProcessor.from_pretrained(folder)
    model = tf.AutoModelForImageTextToText.from_pretrained(folder).train()
    examples = []
    for messages, reply in conversations:
        inputs = processor.apply_chat_template(
            [messages], add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
        )
        ids = processor.tokenizer(reply + "</s>", add_special_tokens=False, return_tensors="pt")["input_ids"]
        prompt = inputs["input_ids"].shape[1]
        inputs["input_ids"] = torch.cat([inputs["input_ids"], ids], dim=1)
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        labels = inputs["input_ids"].clone()
        labels[:, :prompt] = -100
        examples.append({**inputs, "labels": labels})
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    loss = torch.tensor(0.0)
    for step in range(steps):
        loss = model(**examples[step % len(examples)]).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    return float(loss.detach())
