import type { Limited } from '../../telemetry/metrics.ts';
import { NoRoomError, type NoteLimited } from './limited.ts';

/** Of the bytes that all bodies may hold, an address has so many parts, and a source or a merchant has. */
const SHARE = 1 / 4;

/** Where a body comes from, and for whom it is. */
export interface BodyOf {
  readonly address: string;
  /** `id` is a source's or a merchant's; all that the operator sends is one. */
  readonly party: { readonly kind: Extract<Limited['who'], 'source' | 'merchant' | 'operator'>; readonly id: string };
}

/** A request's claim on the memory for its body. */
export interface BodyClaim {
  /** Wants memory for a body that now takes `bytes` in all. False: there is none, and `giveUp` was called. */
  hold(bytes: number): boolean;
  /** The body is whole: what it holds is still counted, but nobody takes it away any more. */
  complete(): void;
  /** What it holds is free again. */
  release(): void;
}

interface Claim extends BodyOf {
  readonly startedMs: number;
  readonly giveUp: (error: Error) => void;
  heldBytes: number;
  state: 'arriving' | 'whole' | 'over';
}

class Group {
  bytes = 0;
  readonly claims = new Set<Claim>();
}

/**
 * Bounds the bytes of all bodies that a process holds, by what has arrived of them, from their first byte until they are
 * answered. An address and a party have a share each, so that nobody takes what others need. Who is over a share loses, of
 * its bodies that are not whole, the one that has occupied most memory for longest, which is hardly ever the new one; over the
 * total, the party that has most does. So whoever sends at the usual speed gets through beside many who do not.
 */
export class BodyBudget {
  readonly #limitBytes: number;
  readonly #note: NoteLimited;
  readonly #nowMs: () => number;
  readonly #addresses = new Map<string, Group>();
  readonly #parties = new Map<string, Group>();
  #bytes = 0;

  /** `nowMs`: a clock that never goes back. */
  constructor(limitBytes: number, note: NoteLimited, nowMs: () => number = () => performance.now()) {
    this.#limitBytes = limitBytes;
    this.#note = note;
    this.#nowMs = nowMs;
  }

  /** What all bodies hold now. */
  get bytes(): number {
    return this.#bytes;
  }

  /** @param giveUp is called once if the body has to go, with the error to answer it by */
  open(of: BodyOf, giveUp: (error: Error) => void): BodyClaim {
    const claim: Claim = { ...of, giveUp, startedMs: this.#nowMs(), heldBytes: 0, state: 'arriving' };
    groupOf(this.#addresses, of.address).claims.add(claim);
    groupOf(this.#parties, of.party.id).claims.add(claim);
    return {
      hold: (bytes) => claim.state === 'arriving' && this.#hold(claim, bytes),
      complete: () => {
        if (claim.state === 'arriving') claim.state = 'whole';
      },
      release: () => this.#close(claim),
    };
  }

  #hold(claim: Claim, bytes: number): boolean {
    const { address, party } = claim;
    const more = bytes - claim.heldBytes;
    const [ofAddress, ofParty] = [groupOf(this.#addresses, address), groupOf(this.#parties, party.id)];
    const share = this.#limitBytes * SHARE;
    // It counts as what it will be, so that a body too fast for its share is measured like any other.
    claim.heldBytes = bytes;
    for (const group of [ofAddress, ofParty]) group.bytes += more;
    this.#bytes += more;
    this.#fit(ofAddress, share, { who: 'address', whom: address });
    this.#fit(ofParty, share, { who: party.kind, whom: party.id });
    while (this.#bytes > this.#limitBytes && claim.state !== 'over') {
      const largest = this.#parties.values().reduce((one, other) => (other.bytes > one.bytes ? other : one), ofParty);
      const victim = costliestOf(largest, this.#nowMs()) ?? claim;
      this.#drop(victim, { who: 'process', whom: victim.party.id });
    }
    return claim.state !== 'over';
  }

  /** Makes a group fit its share. What is whole stays, so that it may remain over it. */
  #fit(group: Group, shareBytes: number, { who, whom }: Over): void {
    while (group.bytes > shareBytes) {
      const victim = costliestOf(group, this.#nowMs());
      if (victim === null) return;
      this.#drop(victim, { who, whom });
    }
  }

  #drop(claim: Claim, { who, whom }: Over): void {
    this.#close(claim);
    this.#note({ who, limit: 'bodies' }, whom);
    claim.giveUp(new NoRoomError());
  }

  #close(claim: Claim): void {
    if (claim.state === 'over') return;
    claim.state = 'over';
    this.#bytes -= claim.heldBytes;
    leave(this.#addresses, claim.address, claim);
    leave(this.#parties, claim.party.id, claim);
  }
}

interface Over {
  readonly who: Limited['who'];
  readonly whom: string;
}

function groupOf(groups: Map<string, Group>, name: string): Group {
  const found = groups.get(name);
  if (found !== undefined) return found;
  const made = new Group();
  groups.set(name, made);
  return made;
}

function leave(groups: Map<string, Group>, name: string, claim: Claim): void {
  const group = groups.get(name);
  if (group === undefined) return;
  group.bytes -= claim.heldBytes;
  group.claims.delete(claim);
  if (group.claims.size === 0) groups.delete(name);
}

/** Of the bodies that are not whole, the one with the most bytes times the time that it is under way. */
function costliestOf({ claims }: Group, nowMs: number): Claim | null {
  let [costliest, highest]: [Claim | null, number] = [null, -1];
  for (const claim of claims) {
    if (claim.state !== 'arriving') continue;
    const cost = claim.heldBytes * Math.max(1, nowMs - claim.startedMs);
    if (cost > highest) [costliest, highest] = [claim, cost];
  }
  return costliest;
}
