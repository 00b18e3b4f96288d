"""Fine-tuning of graphs in torch, with compression in the loop."""
