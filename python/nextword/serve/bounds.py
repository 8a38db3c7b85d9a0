"""How much a request may ask for, in one place."""

BODY = 8 * 2**20  # bytes
BODIES = 8 * BODY  # of all requests on their way
LARGE = 64 * 1024  # bytes of a body that is decoded on a thread
CONTAINERS = 2**18  # lists and objects of a body: Python objects, of many times their bytes
READ = 16 * 1024  # bytes that are taken of a connection at once: in pieces of one they take long to parse
PROMPTS = 1024  # of a request
ROWS = 1024  # texts that a request has at once: prompts times n or best_of
N, BEST_OF, LOGPROBS, STOPS = 128, 20, 20, 64
STOP_BYTES = 1024  # of one stop string, in UTF-8
BIASES = 1024  # entries of logit_bias
GRAMMAR_BYTES = 64 * 1024  # of a schema or an expression
MESSAGES = 1024
TEXTS = 1024  # of a request of embeddings or scores
CHOICES = 256  # continuations of a request of scores
TOKENS = 2**20  # of all texts of a request that generates nothing
TOKENIZED = 2**22  # of a text whose ids alone are told
ENTRY = 600  # bytes of a log-probability in an answer: its text and number as objects, and as JSON
SEED = (-(2**63), 2**64 - 1)
CONNECTIONS = 512
HEADER_SECONDS = BODY_SECONDS = 30.0
STALLED_SECONDS = 30.0  # for which a reader of a stream may take nothing
