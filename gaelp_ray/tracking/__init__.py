"""W&B runs and artifacts. The only room that knows wandb, and the only place where its failures are caught."""
