import { createInterface } from 'node:readline/promises';
import { giveUp } from './give-up.ts';
import { printable } from './output.ts';

/**
 * Asks before what cannot be undone; who has said `--yes` is not asked.
 * @throws {GivenUpError} if the answer is not yes, or nobody is there to be asked
 */
export async function confirm(question: string, isSure: boolean): Promise<void> {
  if (isSure) return;
  const plain = printable(question);
  if (!process.stdin.isTTY || !process.stderr.isTTY) giveUp(`${plain} Say --yes if so. Nothing was done.`);
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await terminal.question(`${plain} Type yes: `).finally(() => terminal.close());
  if (answer.trim().toLowerCase() !== 'yes') giveUp('Nothing was done.');
}
