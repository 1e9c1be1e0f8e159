import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { ROOT } from '../support/cli.ts';

/** What a provider's API answers, read by a process whose heap is far smaller than what it would take unbounded. */

const CLIENT = join(ROOT, 'src/providers/shared/json-client.ts');

async function read(chunks: string): Promise<string> {
  const script = `
    const { readJson } = await import(${JSON.stringify(CLIENT)});
    const body = ReadableStream.from((function* () { ${chunks} })());
    console.log(await readJson('x', new Response(body)).then((answer) => Object.keys(answer).join(), ({ message }) => message));`;
  const args = ['--max-old-space-size=48', '--input-type=module', '--eval', script];
  return (await promisify(execFile)(process.execPath, args)).stdout.trim();
}

it.each([
  [
    'a million pieces of a byte',
    "yield Buffer.from('{\"a\":1'); for (let n = 0; n < 1e6; n += 1) yield Buffer.from(' '); yield Buffer.from('}');",
    'a',
  ],
  [
    'six million empty objects',
    "yield Buffer.from('{\"a\":['); for (let n = 0; n < 60; n += 1) yield Buffer.from('{},'.repeat(1e5)); yield Buffer.from('0]}');",
    'x answers with too much at once',
  ],
])('%s', async (_, chunks, answer) => {
  expect(await read(chunks)).toBe(answer);
});
