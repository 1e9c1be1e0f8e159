import { Pool } from 'undici';
import { expect } from 'vitest';
import type { FaultRig } from './fault-rig.ts';
import type { TrafficAnswer } from './fault-traffic.ts';
import type { ServiceProcess } from './process.ts';

interface Member {
  readonly process: ServiceProcess;
  readonly pool: Pool;
}

export interface FleetRequest {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/**
 * Web processes side by side on the database of a rig, which they reach directly. There is no load balancer: the caller chooses
 * the process by a whole number, so that a test decides which processes race.
 */
export class WebFleet {
  readonly #rig: FaultRig;
  readonly #connectionsEach: readonly number[];
  readonly #members: Member[] = [];

  private constructor(rig: FaultRig, connectionsEach: readonly number[]) {
    this.#rig = rig;
    this.#connectionsEach = connectionsEach;
  }

  /** `size` processes, ready, with `connections` from callers in all. */
  static async start(rig: FaultRig, size: number, connections: number): Promise<WebFleet> {
    const each = Array.from({ length: size }, (_, index) => Math.floor((connections + index) / size));
    const fleet = new WebFleet(rig, each);
    fleet.#members.push(...(await Promise.all(each.map((count) => fleet.#launch(count)))));
    return fleet;
  }

  get size(): number {
    return this.#members.length;
  }

  /** One request to one process, once; status 0 if no answer came. */
  async ask(process: number, { path, ...request }: FleetRequest): Promise<TrafficAnswer> {
    const { pool } = this.#at(process);
    try {
      const { statusCode: status, body } = await pool.request({ path, ...request });
      return { status, body: await body.json() };
    } catch {
      return { status: 0, body: null };
    }
  }

  /** One API call to one process, once, with the default merchant's key unless another is given. */
  call(
    process: number,
    method: FleetRequest['method'],
    path: string,
    body?: object,
    key = this.#rig.environment.API_KEY,
  ): Promise<TrafficAnswer> {
    const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
    return this.ask(process, { method, path, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
  }

  /** Kills a process in the middle of its work and puts another in its place, at another address. */
  async replace(process: number): Promise<void> {
    const index = process % this.size;
    const { process: killed, pool } = this.#at(index);
    await killed.end('SIGKILL');
    const member = await this.#launch(this.#connectionsEach[index] ?? 1);
    this.#members[index] = member;
    await pool.destroy();
  }

  /** Asks all of them to stop. Each must end by itself with success, so a process that crashed before fails here. */
  async close(): Promise<void> {
    const members = this.#members.splice(0);
    const exits = await Promise.all(members.map(({ process }) => process.end('SIGTERM')));
    await Promise.all(members.map(({ pool }) => pool.destroy()));
    expect(exits).toEqual(members.map(() => 0));
  }

  #at(process: number): Member {
    const member = this.#members[process % this.size];
    if (member === undefined) throw new Error('the fleet has no processes');
    return member;
  }

  async #launch(connections: number): Promise<Member> {
    const { url: DATABASE_URL } = this.#rig.database;
    const process = await this.#rig.startWeb({ DATABASE_URL, PORT: '0', RATE_LIMIT_PER_MINUTE: '0' });
    const [, address = ''] = /Listening (http:\/\/[^\s"]+)/.exec(process.output()) ?? [];
    return { process, pool: new Pool(address, { connections }) };
  }
}
