import type { Posting } from '../../ledger/entry.ts';
import type { GuardedCaller, KeyGuard, KeyWarningKind } from '../../merchants/key-guard/key-guard.ts';

/** The header by which a request is warned of its key, or of what it wrote. */
const WARNING_HEADER = 'x-chokin-warning';

/** The guard of keys as one request meets it: what it finds stands in a header of the answer. */
export class RequestGuard {
  readonly #guard: KeyGuard;
  readonly #caller: GuardedCaller;
  readonly #setHeader: (name: string, value: string) => void;
  readonly #found = new Set<KeyWarningKind>();

  constructor(guard: KeyGuard, caller: GuardedCaller, setHeader: (name: string, value: string) => void) {
    this.#guard = guard;
    this.#caller = caller;
    this.#setHeader = setHeader;
  }

  /**
   * Looks at a key before anything is done under it.
   * @throws {RefusalError} UNSTABLE_KEY where the merchant wants that
   */
  checkKey(key: string | null, customerId: string): void {
    if (this.#guard.checkKey(this.#caller, key, customerId)) this.#warn('unstable_key');
  }

  /** Looks at an entry that was written just now. */
  notePosting(posting: Posting): void {
    if (this.#guard.notePosting(this.#caller, posting)) this.#warn('near_duplicate');
  }

  #warn(kind: KeyWarningKind): void {
    this.#found.add(kind);
    this.#setHeader(WARNING_HEADER, [...this.#found].join(', '));
  }
}
