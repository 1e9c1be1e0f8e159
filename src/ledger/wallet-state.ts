/** How far a wallet's chain of hashes goes (see hash-chain.ts). */
export interface ChainState {
  /** The hash of entry `headVersion`, in hexadecimal; null if none has one yet. */
  readonly head: string | null;
  /** Behind the wallet's version while a process that knows of no chain has written the newest entry. */
  readonly headVersion: number;
}

/** What is set aside in a wallet (see holds/hold.ts). Holds never change the balance. */
export interface HoldState {
  /** The sum of what is left of all open holds. A claw-back may leave less balance than that. */
  readonly held: number;
  readonly openHolds: number;
  /** The number of the newest hold. */
  readonly holdSeq: number;
  /** No open hold or lot ends sooner, nor is told of before its end; one may end later. Null: none ends. */
  readonly dueAt: Date | null;
}

/** What of a wallet has terms of its own (see lots/lot.ts). The rest of the balance is the base. */
export interface LotState {
  /** The sum of what is left of all open lots; never more than the balance. */
  readonly inLots: number;
  readonly openLots: number;
  /** The number of the newest lot. */
  readonly lotSeq: number;
}
