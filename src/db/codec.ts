import {
  BIGINT,
  type Binary,
  BOOLEAN,
  BYTEA,
  FLOAT,
  HEX,
  INTEGER,
  JSONB,
  MILLISECONDS,
  SMALLINT,
  TEXT,
  TID,
  TIMESTAMPTZ,
} from './binary.ts';

/** How a value of the code stands in a column or a parameter of Postgres. */
export interface Codec<Value> {
  /** As a cast writes it, such as `text` or `bigint`. */
  readonly type: string;
  readonly isNullable: boolean;
  /** The column may be null, but in the rows of this statement it never is. */
  readonly isPresent?: boolean;
  /** The column's name where it is not the snake case of the code's. */
  readonly column?: string;
  /** The result is what the driver takes, also as an element of an array. */
  encode(value: Value): unknown;
  /** Never called with null. */
  decode(raw: unknown): Value;
  /** How an array of them is sent in binary; null where it is sent as text. */
  readonly binary: Binary<Value> | null;
}

/** What the driver returns for the type is what the code wants, and the column's own CHECK says which values there are. */
function plain<Value>(type: string, binary: Binary<Value> | null = null): Codec<Value> {
  return { type, isNullable: false, encode: (value) => value, decode: (raw) => raw as Value, binary };
}

export const text: Codec<string> = plain('text', TEXT);
export const boolean: Codec<boolean> = plain('boolean', BOOLEAN);
/** A small number of a closed list, which the column's CHECK holds. */
export function smallint<const Value extends number>(): Codec<Value> {
  return plain<Value>('smallint', SMALLINT);
}

export const integer: Codec<number> = plain('integer', INTEGER);
/** A number; `db/pool.ts` refuses what is beyond exact integers. */
export const bigint: Codec<number> = plain('bigint', BIGINT);
export const float: Codec<number> = plain('double precision', FLOAT);
export const bytea: Codec<Buffer> = plain('bytea', BYTEA);
/** Where a row stands in its table: of one that is locked, until the transaction itself changes it. */
export const tid: Codec<string> = plain('tid', TID);
export const uuid: Codec<string> = plain('uuid');

/** Sums of `bigint`, which may be inexact beyond JavaScript's integers. */
export const numeric: Codec<number> = { ...plain<number>('numeric'), decode: Number };

/** Milliseconds are kept. */
export const timestamptz: Codec<Date> = {
  ...plain<Date>('timestamptz', TIMESTAMPTZ),
  encode: (value) => value.toISOString(),
};

/** A time that the code has as milliseconds since 1970. */
export const milliseconds: Codec<number> = {
  type: 'timestamptz',
  isNullable: false,
  encode: (value) => new Date(value).toISOString(),
  decode: (raw) => (raw instanceof Date ? raw.getTime() : Number.NaN),
  binary: MILLISECONDS,
};

/** Bytes that the code has as hexadecimal text. */
export const hex: Codec<string> = {
  type: 'bytea',
  isNullable: false,
  encode: (value) => `\\x${value}`,
  decode: (raw) => (Buffer.isBuffer(raw) ? raw.toString('hex') : String(raw)),
  binary: HEX,
};

/**
 * A text of a closed list, which the column's CHECK holds. It is not checked again here: while a release is rolled out, the
 * one before must be able to pass on what the new one writes.
 */
export function oneOf<const Value extends string>(): Codec<Value> {
  return plain<Value>('text', TEXT);
}

/** A `jsonb` that holds what was written by this codec. */
export function json<Value>(): Codec<Value> {
  return { ...plain<Value>('jsonb', JSONB), encode: (value) => JSON.stringify(value) };
}

/** The codec for an array of what another codec writes. */
export function array<Value>(element: Codec<Value>): Codec<readonly Value[]> {
  return {
    type: `${element.type}[]`,
    isNullable: false,
    encode: (values) => values.map((value) => element.encode(value)),
    decode: (raw) => (raw as unknown[]).map((value) => element.decode(value)),
    binary: null,
  };
}

/** The codec for a column that may be null. */
export function nullable<Value>(codec: Codec<Value>): Codec<Value | null> {
  return {
    ...codec,
    isNullable: true,
    encode: (value) => (value === null ? null : codec.encode(value)),
    decode: codec.decode,
    // Nulls have their own place in an array.
    binary: codec.binary,
  };
}

/** The codec for a column that SQL knows by another name than the code. */
export function named<Value>(column: string, codec: Codec<Value>): Codec<Value> {
  return { ...codec, column };
}

/** For a column that may be null, in a statement whose rows all have it; null is a broken invariant then. */
export function present<Value>(codec: Codec<Value>): Codec<Value> {
  return { ...codec, isPresent: true };
}
