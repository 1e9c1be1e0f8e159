import { InvariantError } from '../errors.ts';

/**
 * How Postgres itself writes values, for arrays of many rows: it takes the server half as long to read as text, and us a third as long
 * to write (docs/decisions/0073-arrays-in-binary.md).
 */
export interface Binary<Value> {
  /** Of the type, the same in every database. */
  readonly oid: number;
  /** Writes a value with its length before it. */
  write(to: Bytes, value: Value): void;
}

const FIRST_ROOM_BYTES = 64 * 1024;
/** What was once needed for a large batch is given back. */
const MOST_KEPT_BYTES = 1024 * 1024;
/** Shorter texts are written by ourselves, which is quicker than to ask for it. */
const SHORT = 64;
const TWO_TO_32 = 2 ** 32;

/** Bytes that grow. One is used over and over: nothing is done between its beginning and its end. */
class Bytes {
  #buffer = Buffer.allocUnsafe(FIRST_ROOM_BYTES);
  #length = 0;

  begin(): void {
    this.#length = 0;
  }

  /** What was written since the beginning. */
  take(): Buffer {
    const taken = Buffer.from(this.#buffer.subarray(0, this.#length));
    if (this.#buffer.length > MOST_KEPT_BYTES) this.#buffer = Buffer.allocUnsafe(FIRST_ROOM_BYTES);
    return taken;
  }

  /** What stands at a place that was written before. */
  setInt32(place: number, value: number): void {
    this.#buffer.writeInt32BE(value, place);
  }

  byte(value: number): void {
    this.#need(1);
    this.#length = this.#buffer.writeUInt8(value, this.#length);
  }

  int16(value: number): void {
    this.#need(2);
    this.#length = this.#buffer.writeInt16BE(value, this.#length);
  }

  int32(value: number): void {
    this.#need(4);
    this.#length = this.#buffer.writeInt32BE(value, this.#length);
  }

  /** Of an exact integer. */
  int64(value: number): void {
    this.#need(8);
    const high = Math.floor(value / TWO_TO_32);
    this.#length = this.#buffer.writeInt32BE(high, this.#length);
    this.#length = this.#buffer.writeUInt32BE(value - high * TWO_TO_32, this.#length);
  }

  bigInt64(value: bigint): void {
    this.#need(8);
    this.#length = this.#buffer.writeBigInt64BE(value, this.#length);
  }

  double(value: number): void {
    this.#need(8);
    this.#length = this.#buffer.writeDoubleBE(value, this.#length);
  }

  /** A text in UTF-8, behind its length and what stands before it. */
  text(value: string, before: readonly number[] = []): void {
    this.#need(4 + before.length + 3 * value.length);
    const place = this.#length;
    this.#length += 4;
    for (const one of before) this.byte(one);
    if (!this.#writeShort(value)) this.#length += this.#buffer.write(value, this.#length);
    this.setInt32(place, this.#length - place - 4);
  }

  /** @returns false where it is long, or not of ASCII alone; then nothing was written */
  #writeShort(value: string): boolean {
    const { length } = value;
    if (length > SHORT) return false;
    for (let index = 0; index < length; index += 1) {
      const code = value.charCodeAt(index);
      if (code > 127) return false;
      this.#buffer[this.#length + index] = code;
    }
    this.#length += length;
    return true;
  }

  bytes(value: Buffer): void {
    this.#need(4 + value.length);
    this.int32(value.length);
    this.#length += value.copy(this.#buffer, this.#length);
  }

  #need(count: number): void {
    if (this.#length + count <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(2 * this.#buffer.length, this.#length + count));
    this.#buffer.copy(larger, 0, 0, this.#length);
    this.#buffer = larger;
  }
}

const scratch = new Bytes();

/**
 * The column of rows as one array.
 * @throws {InvariantError} for a value that its type cannot have
 */
export function binaryArray(
  { oid, write }: Binary<unknown>,
  rows: readonly Readonly<Record<string, unknown>>[],
  field: string,
): Buffer {
  scratch.begin();
  scratch.int32(rows.length === 0 ? 0 : 1);
  // Whether there are nulls, which is known at the end.
  scratch.int32(0);
  scratch.int32(oid);
  if (rows.length === 0) return scratch.take();
  scratch.int32(rows.length);
  scratch.int32(1);
  let hasNulls = false;
  for (const row of rows) {
    const value = row[field];
    if (value === null || value === undefined) {
      hasNulls = true;
      scratch.int32(-1);
    } else write(scratch, value);
  }
  if (hasNulls) scratch.setInt32(4, 1);
  return scratch.take();
}

function wrong(value: unknown, type: string): never {
  throw new InvariantError(`a statement was given ${String(value)} for a ${type}`);
}

/** An integer between two bounds, as that many bytes. */
function integerOf(type: string, oid: number, bytes: 2 | 4): Binary<number> {
  const most = 2 ** (8 * bytes - 1) - 1;
  return {
    oid,
    write: (to, value) => {
      if (!Number.isInteger(value) || value > most || value < -most - 1) wrong(value, type);
      to.int32(bytes);
      if (bytes === 2) to.int16(value);
      else to.int32(value);
    },
  };
}

export const TEXT: Binary<string> = { oid: 25, write: (to, value) => to.text(value) };
export const SMALLINT = integerOf('smallint', 21, 2);
export const INTEGER = integerOf('integer', 23, 4);

export const BIGINT: Binary<number> = {
  oid: 20,
  write: (to, value) => {
    if (!Number.isSafeInteger(value)) wrong(value, 'bigint');
    to.int32(8);
    to.int64(value);
  },
};

export const BOOLEAN: Binary<boolean> = {
  oid: 16,
  write: (to, value) => {
    to.int32(1);
    to.byte(value ? 1 : 0);
  },
};

export const FLOAT: Binary<number> = {
  oid: 701,
  write: (to, value) => {
    to.int32(8);
    to.double(value);
  },
};

const PLACE = /^\((\d+),(\d+)\)$/;

/** A row's place in its table, as Postgres writes it: the numbers of its page, and of itself there. */
export const TID: Binary<string> = {
  oid: 27,
  write: (to, value) => {
    const [, page, row] = PLACE.exec(value) ?? wrong(value, 'tid');
    to.int32(6);
    // Both are without a sign.
    to.int32(Number(page) | 0);
    to.int16((Number(row) << 16) >> 16);
  },
};

export const BYTEA: Binary<Buffer> = { oid: 17, write: (to, value) => to.bytes(value) };

/** Bytes that the code has as hexadecimal text. */
export const HEX: Binary<string> = {
  oid: 17,
  write: (to, value) => {
    const bytes = Buffer.from(value, 'hex');
    if (2 * bytes.length !== value.length) wrong(value, 'bytea');
    to.bytes(bytes);
  },
};

/** Written as text, behind the number of its form. */
export const JSONB: Binary<unknown> = { oid: 3802, write: (to, value) => to.text(JSON.stringify(value), [1]) };

/** 2000-01-01, from which Postgres counts microseconds. */
const EPOCH_MS = Date.UTC(2000, 0, 1);

function writeMoment(to: Bytes, milliseconds: number): void {
  if (!Number.isInteger(milliseconds)) wrong(milliseconds, 'timestamptz');
  const microseconds = (milliseconds - EPOCH_MS) * 1000;
  to.int32(8);
  // Beyond the year 2285 they are no exact number.
  if (Number.isSafeInteger(microseconds)) to.int64(microseconds);
  else to.bigInt64(BigInt(milliseconds - EPOCH_MS) * 1000n);
}

export const TIMESTAMPTZ: Binary<Date> = { oid: 1184, write: (to, value) => writeMoment(to, value.getTime()) };
/** A time that the code has as milliseconds since 1970. */
export const MILLISECONDS: Binary<number> = { oid: 1184, write: writeMoment };
