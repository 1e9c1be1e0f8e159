/** What a statement was given for a column of many rows, which goes to the server in binary (src/db/binary.ts): the elements, as text. */
export function sentArray(value: unknown): readonly (string | null)[] {
  if (!Buffer.isBuffer(value)) throw new TypeError('this is no array in binary');
  if (value.readInt32BE(0) === 0) return [];
  const read = READERS.get(value.readInt32BE(8));
  if (read === undefined) throw new TypeError('this is an array of another type');
  const elements: (string | null)[] = [];
  for (let at = 20; at < value.length; ) {
    const length = value.readInt32BE(at);
    at += 4;
    elements.push(length < 0 ? null : read(value.subarray(at, at + length)));
    at += Math.max(length, 0);
  }
  return elements;
}

const READERS = new Map<number, (bytes: Buffer) => string>([
  [25, (bytes) => bytes.toString('utf8')],
  [20, (bytes) => String(bytes.readBigInt64BE())],
]);
