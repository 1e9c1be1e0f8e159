import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Limited } from '../../telemetry/metrics.ts';
import { forwardedAddress, networkName } from './address.ts';
import { atEnd } from './answer-end.ts';
import { releaseHeaders } from './answer-headers.ts';
import { markLimited, type NoteLimited } from './limited.ts';

/**
 * From here on a connection is closed for each new one. The rest of what a process takes is the reserve from which a new one is always
 * accepted, so that whoever asks for its health is heard.
 */
const CROWDED = 9_000;
/** The most connections of an address, before it loses one for each new one. */
const SHARE = 1_000;
/** A request that is not whole after this long must have come at the lowest rate at least. */
const PATIENCE_MS = 8_000;
const LOWEST_BYTES_A_SECOND = 500;
const SWEEP_MS = 1_000;
/** What a client may take to begin its request before it counts as one that says nothing. */
const GRACE_MS = 1_000;
/** A request that has sent this much within this time is never closed to make room: its bytes are limited as bodies are. */
const FAR_BYTES = 16 * 1024;
const FAR_WITHIN_MS = 30_000;
/** So many are compared to find the slowest, so that a new connection costs little however many there are. */
const COMPARED = 1_000;

/** A connection, and how far its request is. */
interface Visit {
  readonly socket: Socket;
  /** Since when its request comes, as near as a sweep tells, and what the socket had received before. */
  sinceMs: number;
  bytesBefore: number;
  /** Since when nothing was asked. */
  idleSinceMs: number;
  /** Requests under way, and the last of them. */
  underWay: number;
  last: { readonly request: IncomingMessage; readonly response: ServerResponse } | null;
}

export interface ConnectionLimits {
  /** Proxies in front of us: with any, an address is whom they name, and a request counts for it once its headers are there. */
  readonly proxies?: number;
  readonly noteLimited?: NoteLimited;
  /** Connections of an address: {@link SHARE} unless given. */
  readonly share?: number;
  /** Connections of all: {@link CROWDED} unless given. */
  readonly crowded?: number;
  /** {@link GRACE_MS} unless given. */
  readonly graceMs?: number;
}

/**
 * Keeps a server open to everybody: an address has a share of the connections, and beyond it loses one for each new one,
 * which is never refused. When the process is crowded, the address that has most loses it. First go connections that say nothing,
 * then those whose headers are not there, then requests whose bodies are not and answers that nobody reads, the slowest of
 * each first. A request that is whole waits for its answer unless the process is crowded with such. Beside that, requests that
 * come slower than the lowest rate are ended, 408.
 */
export function limitConnections(
  server: Server,
  { proxies = 0, noteLimited = () => {}, share = SHARE, crowded = CROWDED, graceMs = GRACE_MS }: ConnectionLimits,
): void {
  const visits = new Map<Socket, Visit>();
  const byAddress = new Map<string, Set<Visit>>();
  const enter = (address: string, visit: Visit) => {
    const group = byAddress.get(address) ?? new Set();
    byAddress.set(address, group.add(visit));
    if (group.size > share) makeRoom(group, visit, { who: 'address', whom: address });
    return () => {
      group.delete(visit);
      if (group.size === 0 && byAddress.get(address) === group) byAddress.delete(address);
    };
  };
  const makeRoom = (among: Iterable<Visit>, newest: Visit, { who, whom }: { who: Limited['who']; whom: string }) => {
    const visit = leastWorth(among, { newest, graceMs, mayWait: who === 'address' });
    if (visit === null) return;
    if (stageOf(visit) !== 'idle') noteLimited({ who, limit: 'connections' }, whom);
    end(visit);
  };
  server.on('connection', (socket: Socket) => {
    const nowMs = performance.now();
    const visit: Visit = { socket, sinceMs: nowMs, bytesBefore: 0, idleSinceMs: nowMs, underWay: 0, last: null };
    visits.set(socket, visit);
    const leave = proxies === 0 ? enter(networkName(socket.remoteAddress ?? ''), visit) : () => {};
    socket.once('close', () => {
      visits.delete(socket);
      leave();
    });
    if (visits.size > crowded) {
      // Behind a proxy all connections come from the proxy's address, and only requests with a body are grouped by client: no group says who has most.
      const most = proxies === 0 ? largest(byAddress) : null;
      makeRoom(most?.group ?? visits.values(), visit, { who: 'process', whom: most?.address ?? 'everybody' });
    }
  });
  server.on('request', (request, response) => {
    const visit = visits.get(request.socket);
    if (visit === undefined || request.socket.destroyed) return;
    visit.underWay += 1;
    visit.last = { request, response };
    const leave =
      proxies > 0 && hasBody(request) ? enter(networkName(forwardedAddress(request, proxies)), visit) : null;
    atEnd(response, () => {
      leave?.();
      visit.underWay -= 1;
      if (visit.underWay > 0) return;
      visit.last = null;
      visit.idleSinceMs = performance.now();
      visit.sinceMs = visit.idleSinceMs;
      visit.bytesBefore = visit.socket.bytesRead;
    });
  });
  const timer = setInterval(() => {
    for (const visit of visits.values()) {
      const stage = stageOf(visit);
      if (stage === 'idle') Object.assign(visit, beginning(visit.socket));
      else if ((stage === 'asking' || stage === 'asked') && isTooSlow(visit)) {
        noteLimited({ who: 'address', limit: 'slow' }, visit.socket.remoteAddress ?? '');
        end(visit);
      }
    }
  }, SWEEP_MS);
  timer.unref();
  server.once('close', () => clearInterval(timer));
}

type Stage = 'idle' | 'asking' | 'asked' | 'unread' | 'waiting';

function stageOf({ socket, bytesBefore, last }: Visit): Stage {
  if (last === null) return socket.bytesRead > bytesBefore ? 'asking' : 'idle';
  if (!last.request.complete) return 'asked';
  return last.response.writableEnded && socket.writableLength > 0 ? 'unread' : 'waiting';
}

function beginning({ bytesRead }: Socket): Pick<Visit, 'sinceMs' | 'bytesBefore'> {
  return { sinceMs: performance.now(), bytesBefore: bytesRead };
}

function rateOf({ socket, bytesBefore, sinceMs }: Visit): number {
  return (socket.bytesRead - bytesBefore) / Math.max(1, performance.now() - sinceMs);
}

function isTooSlow(visit: Visit): boolean {
  return performance.now() - visit.sinceMs > PATIENCE_MS && rateOf(visit) * 1000 < LOWEST_BYTES_A_SECOND;
}

/** The connections of the address that has most; null if no address has more than one. */
function largest(
  byAddress: ReadonlyMap<string, ReadonlySet<Visit>>,
): { readonly address: string; readonly group: ReadonlySet<Visit> } | null {
  let found: ReturnType<typeof largest> = null;
  for (const [address, group] of byAddress) {
    if (group.size > (found?.group.size ?? 1)) found = { address, group };
  }
  return found;
}

/** What a connection is to whoever makes room: `new` had no time yet to ask, and the body of `far` has come far. */
type Kind = Stage | 'new' | 'far';

type Order = readonly (readonly Kind[])[];
/** From the first to go. Of `new` and `far` those go first that are more, so that whoever does much of one keeps nobody from the other. */
const ORDER: Order = [['asking'], ['asked', 'unread'], ['far'], ['new'], ['waiting']];
const ORDER_IF_MORE_ARE_NEW: Order = [['asking'], ['asked', 'unread'], ['new'], ['far'], ['waiting']];

function kindOf(visit: Visit, nowMs: number, graceMs: number): Kind {
  const stage = stageOf(visit);
  if (stage === 'idle') return nowMs - visit.idleSinceMs < graceMs ? 'new' : 'idle';
  const isFar = nowMs - visit.sinceMs < FAR_WITHIN_MS && visit.socket.bytesRead - visit.bytesBefore >= FAR_BYTES;
  return stage === 'asked' && isFar ? 'far' : stage;
}

interface Making {
  /** Never goes itself. */
  readonly newest: Visit;
  readonly graceMs: number;
  /** Whether requests that wait for their answer stay. */
  readonly mayWait: boolean;
}

/** The one that others are served for, or null: the first by {@link ORDER} and the slowest of its kind; of those that say nothing, the oldest. */
function leastWorth(among: Iterable<Visit>, { newest, graceMs, mayWait }: Making): Visit | null {
  const nowMs = performance.now();
  const slowest = new Map<Kind, { readonly visit: Visit; readonly rate: number; readonly count: number }>();
  let compared = 0;
  for (const visit of among) {
    if (visit === newest || visit.socket.destroyed) continue;
    const kind = kindOf(visit, nowMs, graceMs);
    if (kind === 'idle') return visit;
    if (kind === 'waiting' && mayWait) continue;
    const rate = rateOf(visit);
    const before = slowest.get(kind);
    const count = (before?.count ?? 0) + 1;
    const isSlower = before === undefined || rate < before.rate;
    slowest.set(kind, isSlower ? { visit, rate, count } : { ...before, count });
    compared += 1;
    if (compared === COMPARED) break;
  }
  const moreAreNew = (slowest.get('new')?.count ?? 0) > (slowest.get('far')?.count ?? 0);
  for (const kinds of moreAreNew ? ORDER_IF_MORE_ARE_NEW : ORDER) {
    const found = kinds.flatMap((kind) => slowest.get(kind) ?? []);
    const [first] = found.toSorted((one, other) => one.rate - other.rate);
    if (first !== undefined) return first.visit;
  }
  return null;
}

/** Ends a connection, and tells the client so where its request is not whole and it can be told. */
function end(visit: Visit): void {
  const { socket, last } = visit;
  const stage = stageOf(visit);
  if (stage === 'waiting' && last !== null) markLimited(last.response);
  if (stage === 'asked' && last !== null && !last.response.headersSent) {
    releaseHeaders(last.response);
    last.response.writeHead(408, { connection: 'close', 'content-length': 0 });
    last.response.end(() => socket.destroy());
    return;
  }
  if (stage === 'asking') socket.write('HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n');
  socket.destroy();
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0';
}
