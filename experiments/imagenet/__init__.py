"""Networks for ImageNet, by name through timm: from tokenizer to evaluated generated networks."""
