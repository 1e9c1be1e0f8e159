import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ROOT } from './cli.ts';

/** That a value has a type of an official SDK. */
export interface TypeClaim {
  /** For people: where the value comes from. */
  readonly what: string;
  /** TypeScript that {@link typeProblems}'s imports make sense of. */
  readonly type: string;
  readonly value: unknown;
}

/**
 * Lets the compiler compare values with types of SDKs, which no program can see while it runs: each becomes a literal of
 * its type, where a missing field, a wrong one and an unknown one are errors.
 * @param imports import declarations, as in a file at the root of this project
 * @returns what the compiler says, with the claim it says it of; empty if all claims are true
 */
export async function typeProblems(imports: string, claims: readonly TypeClaim[]): Promise<readonly string[]> {
  const folder = await mkdtemp(join(ROOT, 'test/.sdk-types-'));
  try {
    const head = imports.trim().split('\n');
    const lines = claims.map(({ type, value }, index) => `export const _${index}: ${type} = ${JSON.stringify(value)};`);
    await writeFile(join(folder, 'claims.ts'), [...head, ...lines].join('\n'));
    const compilerOptions = { exactOptionalPropertyTypes: false, noUnusedLocals: false };
    await writeFile(
      join(folder, 'tsconfig.json'),
      JSON.stringify({ extends: join(ROOT, 'tsconfig.json'), compilerOptions, include: ['claims.ts'] }),
    );
    const output = await compile(folder);
    return output.filter((line) => !line.startsWith(' ')).map((line) => named(line, claims, head.length));
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function compile(folder: string): Promise<readonly string[]> {
  const child = spawn(join(ROOT, 'node_modules/.bin/tsc'), ['--project', folder, '--pretty', 'false'], { cwd: folder });
  const chunks: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  const [code]: unknown[] = await once(child, 'close');
  const text = Buffer.concat(chunks).toString();
  if (code !== 0 && !text.startsWith('claims.ts(')) throw new Error(`the compiler ended with ${code}: ${text}`);
  return text.split('\n').filter((line) => line !== '');
}

/** `claims.ts(7,21): error …` with the claim's name for the place. */
function named(line: string, claims: readonly TypeClaim[], headLines: number): string {
  const [, place = '0', rest = line] = /^claims\.ts\((\d+),\d+\): (?:error )?(.*)$/.exec(line) ?? [];
  return `${claims[Number(place) - headLines - 1]?.what ?? 'the file'}: ${rest}`;
}
