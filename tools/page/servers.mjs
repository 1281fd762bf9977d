// Starts and stops the servers that the page is looked at on, and asks them for users.

import { spawn, execFile } from 'node:child_process';
import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import readline from 'node:readline';
import { promisify } from 'node:util';

export const clerkgate = new URL('../../bin/clerkgate', import.meta.url).pathname;
export const run = promisify(execFile);

// freePort returns a port that nobody listens on at the moment.
export async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

// until waits for a value that is true.
export async function until(what, ask, ms = 20_000) {
  const end = Date.now() + ms;
  for (;;) {
    const value = await ask();
    if (value) return value;
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

// start runs a command until stop is called. lines are what it has written to stderr.
function start(command, args, env = {}) {
  const child = spawn(command, args, { env: { PATH: process.env.PATH, ...env }, stdio: ['ignore', 'ignore', 'pipe'] });
  const lines = [];
  readline.createInterface({ input: child.stderr }).on('line', (line) => lines.push(line));
  const ended = once(child, 'exit');
  return {
    lines,
    async line(what, pattern) {
      const found = await until(`${what}:\n${command} ${args.join(' ')}`, () => lines.find((l) => pattern.test(l))
        ?? (child.exitCode !== null && `ended with ${child.exitCode}: ${lines.join('\n')}`));
      if (!pattern.test(found)) throw new Error(found);
      return found;
    },
    async stop(signal = 'SIGTERM') {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal);
      await ended;
    },
  };
}

// serve starts clerkgate serve. Ports are free ones unless args name others.
export async function serve(args, env) {
  const ports = { grpc: await freePort(), http: await freePort() };
  const all = ['serve', '--log-format', 'json', '--drain-delay', '0s'];
  for (const name of ['grpc', 'http']) {
    if (!args.some((a) => a === `--${name}-listen`)) all.push(`--${name}-listen`, `127.0.0.1:${ports[name]}`);
  }
  const server = start(clerkgate, [...all, ...args], env);
  const { grpc, http } = JSON.parse(await server.line('the server', /"msg":"serving"/));
  const sim = server.lines.map((l) => JSON.parse(l)).find((l) => l.msg?.startsWith('SIMULATED'))?.url;
  return { ...server, grpc, http, page: `http://${http}/`, sim };
}

// simulator starts clerkgate sim, which takes one key only.
export async function simulator(key) {
  const port = await freePort();
  const sim = start(clerkgate, ['sim', '--listen', `127.0.0.1:${port}`, '--key', key, '--users', '100']);
  await sim.line('the simulator', /SIMULATED/);
  return { ...sim, url: `http://127.0.0.1:${port}` };
}

// redis starts a Redis that keeps nothing, on a free port unless one is given.
export async function redis(port) {
  port ??= await freePort();
  const server = start('redis-server', ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no']);
  await until('Redis', () => new Promise((done) => {
    const socket = net.connect(port, '127.0.0.1', () => { socket.destroy(); done(true); });
    socket.on('error', () => done(false));
  }));
  const command = (line) => new Promise((done, fail) => {
    const socket = net.connect(port, '127.0.0.1', () => socket.write(`${line}\r\n`));
    socket.on('data', (answer) => { socket.destroy(); done(String(answer)); }).on('error', fail);
  });
  return { ...server, port, command, url: `redis://127.0.0.1:${port}` };
}

// fault switches a fault of a simulated Clerk on; null switches all off.
export async function fault(sim, order) {
  const answer = await fetch(`${sim}/sim/faults`, order ? { method: 'POST', body: JSON.stringify(order) } : { method: 'DELETE' });
  if (!answer.ok) throw new Error(await answer.text());
}

// userIDs returns ids of users.
export async function userIDs(server, n) {
  const { stdout } = await run(clerkgate, ['list', '--address', server.grpc, '--limit', String(n), '-o', 'json'], { maxBuffer: 1 << 28 });
  return stdout.trim().split('\n').map((line) => JSON.parse(line).id);
}

const text = (field, value) => Buffer.concat([Buffer.from([field << 3 | 2, value.length]), Buffer.from(value)]);

// client asks a server for users by gRPC. Each get returns the code of the answer's status.
export function client(server) {
  const session = http2.connect(`http://${server.grpc}`);
  session.on('error', () => {}); // the server may stop
  const get = (id, { caller = '', fresh = false, seconds = 5, batch = false } = {}) => new Promise((done) => {
    const message = Buffer.concat([text(1, id), fresh ? Buffer.from([0x1a, 0]) : Buffer.alloc(0)]); // max_age: 0
    const stream = session.request({
      ':method': 'POST', ':path': '/clerkgate.v1.UserService/GetUser', 'content-type': 'application/grpc', te: 'trailers',
      'grpc-timeout': `${seconds}S`, ...(caller ? { 'clerkgate-caller': caller } : {}), ...(batch ? { 'clerkgate-priority': 'batch' } : {}),
    });
    let code;
    const take = (h) => { code = h['grpc-status'] ?? code; };
    stream.on('response', take).on('trailers', take).on('error', () => {}).on('close', () => done(Number(code)));
    const head = Buffer.alloc(5);
    head.writeUInt32BE(message.length, 1);
    stream.end(Buffer.concat([head, message]));
    stream.resume();
  });
  return { get, close: () => session.destroy() };
}

// load has callers ask for users, one lookup after the other, until stop is called.
export function load(server, ids, callers, options = {}) {
  const c = client(server);
  let stopped = false;
  const work = callers.map(async (caller, i) => {
    for (let n = i * 37; !stopped; n++) {
      await c.get(ids[(n * 7919) % ids.length], { caller, ...options, batch: i % 4 === 3 });
      await new Promise((done) => setTimeout(done, options.pause ?? 20));
    }
  });
  return async () => { stopped = true; await Promise.all(work); c.close(); };
}
