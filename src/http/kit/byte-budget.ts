import type { Limited } from '../../telemetry/metrics.ts';
import { NoRoomError, type NoteLimited } from './limited.ts';

/** Of the bytes that all may hold, an address has so many parts, and a source or a merchant has. */
const SHARE = 1 / 4;

/** Where a body comes from, and for whom it is; for an answer the other way round. */
export interface BytesOf {
  readonly address: string;
  /** `id` is a source's or a merchant's; all of the operator's is one. Of a stranger nothing is known but the address. */
  readonly party: { readonly kind: Exclude<Limited['who'], 'process'>; readonly id: string };
}

/** A request's claim on memory. */
export interface ByteClaim {
  /** Wants memory for what now takes `bytes` in all. False: there is none, and `giveUp` was called. */
  hold(bytes: number): boolean;
  /** It is whole: what it holds is still counted, but nobody takes it away any more. */
  complete(): void;
  /** What it holds is free again. */
  release(): void;
}

interface Claim extends BytesOf {
  readonly startedMs: number;
  readonly giveUp: (error: Error) => void;
  readonly isOwed: boolean;
  heldBytes: number;
  state: 'arriving' | 'whole' | 'over';
}

class Group {
  bytes = 0;
  readonly claims = new Set<Claim>();
}

export interface ByteBudgetOptions {
  readonly limit: Extract<Limited['limit'], 'bodies' | 'answers'>;
  readonly limitBytes: number;
  readonly note: NoteLimited;
  /** For so long memory is not taken away from whoever has it; what is new gets none meanwhile. 0 unless given. */
  readonly patienceMs?: number;
  /** A clock that never goes back. */
  readonly nowMs?: () => number;
}

/**
 * Bounds the bytes of all bodies that a process holds, by what has arrived of them, from their first byte until they are
 * answered; or of all answers, until they are read. An address and a party have a share each, so that nobody takes what others
 * need. Who is over a share loses, of its bodies that are not whole, the one that has occupied most memory for longest, which
 * is hardly ever the new one; over the total, the party that has most does. So whoever sends, or reads, at the usual speed gets
 * through beside many who do not.
 */
export class ByteBudget {
  readonly #limitBytes: number;
  readonly #limit: ByteBudgetOptions['limit'];
  readonly #note: NoteLimited;
  readonly #patienceMs: number;
  readonly #nowMs: () => number;
  readonly #addresses = new Map<string, Group>();
  readonly #parties = new Map<string, Group>();
  #bytes = 0;

  constructor({ limit, limitBytes, note, patienceMs = 0, nowMs = () => performance.now() }: ByteBudgetOptions) {
    this.#limit = limit;
    this.#limitBytes = limitBytes;
    this.#note = note;
    this.#patienceMs = patienceMs;
    this.#nowMs = nowMs;
  }

  /** What all hold now. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * @param giveUp is called once if it has to go, with the error to answer it by
   * @param isOwed it never goes in favour of older ones, which lose their memory at once instead
   */
  open(of: BytesOf, giveUp: (error: Error) => void, isOwed = false): ByteClaim {
    const claim: Claim = { ...of, giveUp, isOwed, startedMs: this.#nowMs(), heldBytes: 0, state: 'arriving' };
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
    // It counts as what it will be, so that a body too fast for its share is measured like any other.
    claim.heldBytes = bytes;
    for (const group of [ofAddress, ofParty]) group.bytes += more;
    this.#bytes += more;
    this.#fit(ofAddress, claim, { who: 'address', whom: address });
    this.#fit(ofParty, claim, { who: party.kind, whom: party.id });
    while (this.#bytes > this.#limitBytes && claim.state !== 'over') {
      const largest = this.#parties.values().reduce((one, other) => (other.bytes > one.bytes ? other : one), ofParty);
      const victim = this.#costliestOf(largest, claim) ?? (claim.isOwed ? null : claim);
      if (victim === null) break;
      this.#drop(victim, { who: 'process', whom: victim.party.id });
    }
    return claim.state !== 'over';
  }

  /** Makes a group fit its share. Bodies that are complete are never dropped, so the group may stay over its share. */
  #fit(group: Group, newest: Claim, { who, whom }: Over): void {
    while (group.bytes > this.#limitBytes * SHARE) {
      const victim = this.#costliestOf(group, newest);
      if (victim === null) return;
      this.#drop(victim, { who, whom });
    }
  }

  /** Of those that are not whole, the one with the most bytes times the time that it is under way. */
  #costliestOf({ claims }: Group, newest: Claim): Claim | null {
    const nowMs = this.#nowMs();
    const patienceMs = newest.isOwed ? 0 : this.#patienceMs;
    let [costliest, highest]: [Claim | null, number] = [null, -1];
    for (const claim of claims) {
      const ageMs = nowMs - claim.startedMs;
      const mayGo = claim === newest ? !newest.isOwed : ageMs >= patienceMs;
      if (claim.state !== 'arriving' || !mayGo) continue;
      const cost = claim.heldBytes * Math.max(1, ageMs);
      if (cost > highest) [costliest, highest] = [claim, cost];
    }
    return costliest;
  }

  #drop(claim: Claim, { who, whom }: Over): void {
    this.#close(claim);
    this.#note({ who, limit: this.#limit }, whom);
    claim.giveUp(new NoRoomError(this.#limit));
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
