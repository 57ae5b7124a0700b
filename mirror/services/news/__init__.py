"""What is new: looked for now and then, listed, and sent to webhooks."""
