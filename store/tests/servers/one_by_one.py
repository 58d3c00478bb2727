"""S3's protocol by moto as it serves by itself, but one request after the other: its threads look whether an object is
there and write it in two steps, so that on a busy machine several creates win."""

import sys

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

run_simple("127.0.0.1", int(sys.argv[1]), DomainDispatcherApplication(create_backend_app), threaded=False)
