"""Makes bodies that schemathesis cannot make from the description: protobuf is any bytes."""

import schemathesis
from hypothesis import strategies

schemathesis.openapi.media_type("application/x-protobuf", strategies.binary(max_size=4096))
