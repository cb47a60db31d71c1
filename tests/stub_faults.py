"""What a server can do wrong, one name each: what it sends in place of a reply, in steps.

A step is bytes that are sent, seconds that are waited, CLOSE (the connection ends) or RESET (it breaks).
"""
import gzip
import json
import math
import zlib

CLOSE, RESET = 'close', 'reset'
DEEP = 100_000


def response(body, status='200 OK', length=None, **headers):
    "A whole response as bytes; `length` states another one than the body has, False states none."
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    heads = {'Content-Type': 'application/json', 'Content-Length': len(data) if length is None else length}
    heads |= {name.replace('_', '-'): value for name, value in headers.items()}
    lines = [f'HTTP/1.1 {status}', *(f'{k}: {v}' for k, v in heads.items() if v is not False)]
    return '\r\n'.join(lines).encode() + b'\r\n\r\n' + data


def changed(fine, *path, to):
    "A reply with one part changed, or taken away where `to` is ..."
    reply = json.loads(json.dumps(fine))
    part = reply
    for key in path[:-1]:
        part = part[key]
    if to is ...:
        del part[path[-1]]
    else:
        part[path[-1]] = to
    return reply


def said(status, **headers):
    "An error reply of a status."
    return lambda fine, slow: [response(dict(error=dict(message='not now')), status, **headers)]


def with_body(body, status='200 OK', **headers):
    "The same body, whatever was asked."
    return lambda fine, slow: [response(body, status, **headers)]


def with_part(*path, to):
    "A fine reply with one part changed."
    return lambda fine, slow: [response(changed(fine, *path, to=to))]


def cut_after(share, end):
    "Part of a fine reply, then nothing more."
    def steps(fine, slow):
        data = response(fine)
        return [data[:int(len(data)*share)], end]
    return steps


def packed(fine, slow):
    "64 MB of blanks in 64 kB, called gzip."
    return [response(BOMB, Content_Encoding='gzip')]


def dripped(fine, slow):
    "The head at once, then a byte now and then."
    return [response(b'', length=900), *[slow/8, b' ']*12, CLOSE]


def doubled_tokens(fine, slow):
    "Each listed token stands there twice."
    step = fine['choices'][0]['logprobs']['content'][0]
    return [response(changed(fine, *STEP, 'top_logprobs', to=step['top_logprobs']*2))]


BOMB = gzip.compress(b' '*64_000_000)
CHOICE = ('choices', 0)
MESSAGE = (*CHOICE, 'message')
STEP = (*CHOICE, 'logprobs', 'content', 0)
HTML = b'<html><body>Sign in</body></html>'

FAULTS = {
    # busy
    '429': said('429 Too Many Requests'),
    '429, wait 0.05 s': said('429 Too Many Requests', Retry_After='0.05'),
    '429, wait 50 ms': said('429 Too Many Requests', retry_after_ms='50'),
    '429, wait for ever': said('429 Too Many Requests', Retry_After='inf'),
    '429, wait until 9999': said('429 Too Many Requests', Retry_After='Fri, 31 Dec 9999 23:59:59 GMT'),
    '429, wait no number': said('429 Too Many Requests', Retry_After='nan'),
    '429, wait -5 s': said('429 Too Many Requests', Retry_After='-5'),
    '429, wait until soon': said('429 Too Many Requests', Retry_After='soon'),
    # errors of a server
    '500': said('500 Internal Server Error'),
    '500 without a body': with_body(b'', '500 Internal Server Error'),
    '502 in HTML': with_body(HTML, '502 Bad Gateway', Content_Type='text/html'),
    '503': said('503 Service Unavailable', Retry_After='0.05'),
    '504': said('504 Gateway Timeout'),
    '520': said('520 Unknown'),
    '529': said('529 Overloaded'),
    '408': said('408 Request Timeout'),
    '409': said('409 Conflict'),
    # errors of a client, for a request that is fine
    '400': said('400 Bad Request'),
    '413': said('413 Too Large'),
    '418': said('418 Teapot'),
    '422': with_body(dict(detail=[dict(loc=['body'], msg='no')]), '422 Unprocessable'),
    '501': said('501 Not Implemented'),
    '400, deep': with_body(b'{"error":'*DEEP, '400 Bad Request'),
    # what ends a run where it is meant
    '401': said('401 Unauthorized'),
    '403': said('403 Forbidden'),
    '404': said('404 Not Found'),
    '302 to elsewhere': said('302 Found', Location='http://127.0.0.2:9/v1/chat/completions'),
    '308 to elsewhere': said('308 Permanent Redirect', Location='//elsewhere.example/'),
    # no reply
    'closed at once': lambda fine, slow: [CLOSE],
    'reset at once': lambda fine, slow: [RESET],
    'closed in the head': cut_after(.05, CLOSE),
    'reset in the body': cut_after(.7, RESET),
    'closed in the body': cut_after(.7, CLOSE),
    'slow head': lambda fine, slow: [slow, CLOSE],
    'slow body': dripped,
    'length too long': lambda fine, slow: [response(fine, length=100_000), slow, CLOSE],
    'length too short': lambda fine, slow: [response(fine, length=40), CLOSE],
    'length of two kinds': lambda fine, slow: [response(fine, length=40, content_length='50'), CLOSE],
    'length below 0': lambda fine, slow: [response(fine, length=-1), CLOSE],
    'chunks without an end': lambda fine, slow: [response(b'20\r\n' + b' '*32, length=False, Transfer_Encoding='chunked'), CLOSE],
    'chunks of no size': lambda fine, slow: [response(b'zz\r\n{}\r\n0\r\n\r\n', length=False, Transfer_Encoding='chunked'), CLOSE],
    'no HTTP': lambda fine, slow: [b'220 mail.example ESMTP\r\n', CLOSE],
    'head without a colon': lambda fine, slow: [b'HTTP/1.1 200 OK\r\nnonsense\r\n\r\n', CLOSE],
    'head of 1 MB': lambda fine, slow: [response(fine, X='y'*1_000_000), CLOSE],
    # too much
    'gzip bomb': packed,
    'gzip that is none': with_body(b'plain', Content_Encoding='gzip'),
    'deflate': lambda fine, slow: [response(zlib.compress(json.dumps(fine).encode()), Content_Encoding='deflate')],
    '5 MB': with_body(b'{"choices": [' + b'0,'*2_500_000 + b'0]}'),
    'deep lists': with_body(b'{"choices": ' + b'['*DEEP),
    'deep objects': with_body(b'{"a":'*DEEP),
    'a number of 5,000 digits': with_body(b'{"usage": ' + b'9'*5_000 + b'}'),
    # no completion
    'HTML': with_body(HTML, Content_Type='text/html'),
    'empty': with_body(b''),
    '204': with_body(b'', '204 No Content'),
    'bytes that are no text': with_body(b'\xff\xfe\x00{'),
    'half of the JSON': lambda fine, slow: [response(json.dumps(fine).encode()[:-40])],
    'two JSON values': lambda fine, slow: [response(json.dumps(fine).encode()*2)],
    'null': with_body(None),
    'a list': with_body([]),
    'a text': with_body('A'),
    'an error with status 200': with_body(dict(error=dict(message='overloaded', code=503))),
    # parts that are missing or of another kind
    'no choices': with_part('choices', to=...),
    'empty choices': with_part('choices', to=[]),
    'choices by name': with_part('choices', to=dict(a=1)),
    'no message': with_part(*MESSAGE, to=...),
    'message is null': with_part(*MESSAGE, to=None),
    'message is text': with_part(*MESSAGE, to='A'),
    'content is a list': with_part(*MESSAGE, 'content', to=['A']),
    'no logprobs': with_part(*CHOICE, 'logprobs', to=None),
    'logprobs of no token': with_part(*CHOICE, 'logprobs', 'content', to=[]),
    'no token': with_part(*STEP, 'token', to=...),
    'token is a list': with_part(*STEP, 'token', to=['A']),
    # numbers that are none, or can't be
    'logprob NaN': with_part(*STEP, 'logprob', to=math.nan),
    'logprob -inf': with_part(*STEP, 'logprob', to=-math.inf),
    'logprob 1000': with_part(*STEP, 'top_logprobs', 1, 'logprob', to=1000),
    'logprob is text': with_part(*STEP, 'logprob', to='-1'),
    'logprob is null': with_part(*STEP, 'logprob', to=None),
    'shares above 1': with_part(*STEP, 'top_logprobs', to=[dict(token=t, logprob=0.) for t in 'AB']),
    'doubled tokens': doubled_tokens,
    'usage is text': with_part('usage', 'prompt_tokens', to='10'),
    'usage is a part': with_part('usage', 'prompt_tokens', to=1.5),
    'usage of 10^30': with_part('usage', 'prompt_tokens', to=10**30),
}

# odd, and still an answer: asking again would be paying twice
HARMLESS = {
    'usage below 0': with_part('usage', 'prompt_tokens', to=-50),
    'usage 0': with_part('usage', to=dict(prompt_tokens=0, completion_tokens=0)),
    'no usage': with_part('usage', to=None),
    'called text': lambda fine, slow: [response(fine, Content_Type='text/plain')],
    'called image': lambda fine, slow: [response(fine, Content_Type='image/png')],
    'more fields than known': with_part('odd', to=dict(deep=[1, [2, [3]]])),
    'rest behind the reply': lambda fine, slow: [response(fine) + b'HTTP/1.1 500 X\r\n\r\n', CLOSE],
    'no length': lambda fine, slow: [response(fine, length=False, Connection='close'), CLOSE],
    'bit by bit': lambda fine, slow: [part for byte in split(response(fine), 9) for part in (byte, slow/100)],
}


def split(data, n):
    "n parts."
    size = -(-len(data)//n)
    return [data[i:i + size] for i in range(0, len(data), size)]
