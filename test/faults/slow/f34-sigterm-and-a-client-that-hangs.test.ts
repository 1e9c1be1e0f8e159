import { once } from 'node:events';
import { connect } from 'node:net';
import { expect, it } from 'vitest';
import { FaultRig } from '../../support/fault-rig.ts';
import { signStripe } from '../../support/signing.ts';

/**
 * F34: SIGTERM to web while a client sends a request without end, at more than the lowest rate. It is given the time that every request has
 * (20 s) and is then cut off: the process exits with 0 within 30 s all the same.
 */
it('a client that never ends its request does not keep web from stopping', async ({ onTestFinished }) => {
  const rig = await FaultRig.start();
  onTestFinished(() => rig.close());
  const web = await rig.startWeb();
  const socket = connect(Number(rig.environment.PORT), '127.0.0.1');
  const headers = Object.entries(signStripe('{}')).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.write(`POST /webhooks/stripe HTTP/1.1\r\nhost: x\r\n${headers.join('')}content-length: 1000000\r\n\r\n{"id"`);
  const drip = setInterval(() => socket.write('x'.repeat(1_000)), 500);
  socket.on('error', () => {}).once('close', () => clearInterval(drip));
  // A request behind it on another connection has been answered, so this one has been begun.
  expect((await rig.traffic.call('GET', '/readyz')).status).toBe(200);
  const cutOff = once(socket, 'close');
  const startedMs = performance.now();
  expect(await web.end('SIGTERM')).toBe(0);
  const tookMs = performance.now() - startedMs;
  expect(tookMs).toBeGreaterThan(10_000);
  expect(tookMs).toBeLessThan(30_000);
  await cutOff;
  await Promise.all([rig.startWeb(), rig.startWorker()]);
  await rig.expectAllWell();
}, 90_000);
