"An OpenAI-compatible server that stands in for a real one, faults included. Run it in a process of its own: python stub_server.py '{...}' prints its port."
import asyncio, hashlib, json, math, random, re, socket, struct, sys
from stub_faults import CLOSE, FAULTS as WRONG, HARMLESS, RESET

FAULTS = ('429', '500', 'timeout', 'cut', 'html', 'empty', 'filter')


class Stub:
    """Settings: latency (s), faults (share of requests), logprobs, seed, hang (s that a timeout takes), price per what `prompt_tokens` counts,
    code (of the error that answers everything, with its reason under `detail`, or as OpenAI's servers write it), every (kind of fault that
    stub_faults.py knows), scores (vllm or sglang: whose endpoint for tokens it has; a token is a character)."""
    def __init__(self, latency=0., faults=0., logprobs=True, seed=0, hang=3., retry_after=.2, prompt_tokens=None, code=None, detail=False, every=False, scores=None):
        self.latency, self.faults, self.logprobs, self.hang, self.retry_after = latency, faults, logprobs, hang, retry_after
        self.code, self.detail, self.rng = code, detail, random.Random(seed)
        self.served, self.active, self.most, self.billed, self.kinds, self.files, self.batches = {}, 0, 0, 0, {}, [], []
        self.odd = WRONG | HARMLESS if every else {}
        self.paths = {'/tokenize': {}, dict(vllm='/generative_scoring', sglang='/v1/score')[scores]: {}} if scores else {}
        self.prompt_tokens = prompt_tokens or (lambda messages: len(messages[0]['content'])//4)

    async def handle(self, reader, writer):
        try:
            while line := await reader.readline():
                length, path = 0, line.split()[1].decode()
                while (head := await reader.readline()).strip():
                    name, _, value = head.decode().partition(':')
                    if name.lower() == 'content-length': length = int(value)
                    if name.lower() == 'authorization': key = value.split()[-1]
                data = await reader.readexactly(length)
                if path == '/': self.send(writer, 200, dict(served=self.served, most=self.most, billed=self.billed, kinds=self.kinds, files=len(self.files), batches=self.batches))
                elif self.code: self.send(writer, self.code, self.reason(f'no such thing, said to {key}'))
                elif path == '/openapi.json': self.send(writer, 200, dict(openapi='3.1.0', paths=self.paths))
                elif path in self.paths: self.send(writer, 200, self.score(path, json.loads(data)))
                elif path.startswith('/v1/chat'): await self.chat(writer, json.loads(data))
                else: self.batch(writer, path, data)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError): pass
        finally: writer.close()

    def reason(self, said): return dict(detail=said) if self.detail else dict(error=dict(message=said))

    def score(self, path, body):
        "What both servers give for tokens, in the shapes of their documentation; SGLang puts a token before every text."
        self.kinds[path] = self.kinds.get(path, 0) + 1
        if path == '/tokenize':
            text = body['prompt'] if 'prompt' in body else body['messages'][0]['content']
            tokens = [1]*('/v1/score' in self.paths) + [ord(c) for c in text]
            return dict(tokens=tokens, count=len(tokens), max_model_len=4096)
        prompt = body['query'] + body['items'][0]
        given = self.chances(''.join(map(chr, prompt)).lstrip(chr(1)))
        row, usage = [given.get(chr(i), 0.) for i in body['label_token_ids']], dict(prompt_tokens=len(prompt), completion_tokens=0, total_tokens=len(prompt))
        if path == '/v1/score': return dict(object='scoring', model=body['model'], scores=[row], usage=usage)
        return dict(id='generative-scoring-1', object='list', created=0, model=body['model'], data=[dict(index=0, object='score', score=row[0])], usage=usage)

    def chances(self, prompt):
        a = int(hashlib.sha256(prompt.encode()).hexdigest()[:6], 16)/16**6
        return {'A': .05 + .9*a, 'B': .94 - .9*a, 'x': .005}

    def batch(self, writer, path, data):
        "The batch API: all that a file asks is answered when it is read again."
        if path == '/v1/files':
            self.files.append([json.loads(l) for l in re.findall(rb'^{"custom_id".*', data, re.M)])
            return self.send(writer, 200, dict(id=str(len(self.files) - 1), object='file', bytes=1, created_at=0, filename='r', purpose='batch', status='processed'))
        if path.startswith('/v1/batches?'): return self.send(writer, 200, dict(object='list', data=[self.submission(b['name'], b['metadata']) for b in self.batches[::-1]], has_more=False))
        if data:
            given = json.loads(data)
            name = given['input_file_id']
            asked = [l['body']['messages'][0]['content'] for l in self.files[int(name)]]
            self.batches.append(dict(name=name, metadata=given.get('metadata'), prompts=asked))
        else: name = path.split('/')[3]
        if path.endswith('/content'):
            replies = [dict(custom_id=l['custom_id'], response=dict(status_code=200, body=self.reply(l['body'], None))) for l in self.files[int(name)]]
            return self.send(writer, 200, '\n'.join(map(json.dumps, replies)), html=True)
        self.send(writer, 200, self.submission(name))

    def submission(self, name, metadata=None):
        return dict(id=name, object='batch', completion_window='24h', created_at=0, endpoint='/v1/chat/completions', input_file_id=name,
                    output_file_id=name, status='completed', metadata=metadata)

    async def chat(self, writer, body):
        self.active += 1
        self.most = max(self.most, self.active)
        try:
            kind = self.rng.choice(tuple(self.odd) or FAULTS) if self.rng.random() < self.faults and body.get('max_tokens') != 1 else None
            self.kinds[kind or 'ok'] = self.kinds.get(kind or 'ok', 0) + 1
            await asyncio.sleep(self.hang if kind == 'timeout' else self.latency)
        finally: self.active -= 1
        if kind in self.odd: return await self.misbehave(writer, kind, body)
        if kind == '429': return self.send(writer, 429, dict(error=dict(message='slow down')), **{'Retry-After': str(self.retry_after)})
        if kind == '500': return self.send(writer, 500, dict(error=dict(message='oops')))
        if kind == 'html': return self.send(writer, 200, '<html><body>Sign in</body></html>', html=True)
        if kind == 'cut':
            writer.write(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{"id": ')
            await writer.drain()
            raise ConnectionError
        if body.get('logprobs') and not self.logprobs: return self.send(writer, 400, dict(error=dict(message='logprobs: not supported')))
        self.send(writer, 200, self.reply(body, kind))

    async def misbehave(self, writer, kind, body):
        "What stub_faults.py says; a reply with status 200 that went out whole is billed, and one that is an answer is served."
        billed, steps = self.billed, self.odd[kind](self.reply(body, kind), self.hang)
        if b' 200 ' not in (steps[0] if isinstance(steps[0], bytes) else b'')[:20]: self.billed = billed
        for step in steps:
            if isinstance(step, bytes):
                writer.write(step)
                await writer.drain()
            elif step == RESET: writer.get_extra_info('socket').setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
            elif step != CLOSE: await asyncio.sleep(step)
        if kind in HARMLESS: self.serve(body)
        if steps[-1] in (RESET, CLOSE): raise ConnectionError

    def serve(self, body):
        prompt = body['messages'][0]['content']
        self.served[prompt] = self.served.get(prompt, 0) + 1

    def reply(self, body, kind):
        prompt = body['messages'][0]['content']
        asked = self.prompt_tokens(body['messages'])
        self.billed += asked
        if kind is None: self.serve(body)
        a = int(hashlib.sha256(prompt.encode()).hexdigest()[:6], 16)/16**6
        text = 'A' if (a if body['temperature'] == 0 else random.Random(body['seed']).random()) < .6 else 'B'
        chances = self.chances(prompt)
        top = [dict(token=t, logprob=math.log(p), bytes=None) for t, p in chances.items()]
        given = dict(content=[dict(token=text, logprob=math.log(chances[text]), bytes=None, top_logprobs=top)]) if body.get('logprobs') else None
        message = dict(role='assistant', content='' if kind == 'filter' else text)
        choice = dict(index=0, finish_reason='content_filter' if kind == 'filter' else 'stop', message=message, logprobs=given)
        return dict(id='1', object='chat.completion', created=0, model=body['model'], choices=[] if kind == 'empty' else [choice],
                    usage=dict(prompt_tokens=asked, completion_tokens=1, total_tokens=asked + 1))

    def send(self, writer, code, body, html=False, **headers):
        data = (body if html else json.dumps(body)).encode()
        headers = {'Content-Type': 'text/html' if html else 'application/json', 'Content-Length': len(data), **headers}
        writer.write(f'HTTP/1.1 {code} X\r\n'.encode() + ''.join(f'{k}: {v}\r\n' for k, v in headers.items()).encode() + b'\r\n' + data)


async def main(settings):
    if settings.pop('tokenizer', None):
        from transformers import AutoTokenizer
        from alignsurvey.models.embedded import embedded_folder
        tokenizer = AutoTokenizer.from_pretrained(embedded_folder())
        settings['prompt_tokens'] = lambda m: len(tokenizer.apply_chat_template(m, add_generation_prompt=True)['input_ids'])
    server = await asyncio.start_server(Stub(**settings).handle, '127.0.0.1', 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

if __name__ == '__main__': asyncio.run(main(json.loads(sys.argv[1])))
