"""Code that protoc generated of the contract: messages, and stubs of the services."""
