import { appendFileSync } from 'node:fs';
import { registerHooks } from 'node:module';

/**
 * For `node --import`: writes the URL of every module that a process loads into the file that MODULES_FILE names, one a
 * line. What makes a command slow to answer is what it loads; that can be tested, and a time on a busy machine cannot.
 */
const file = process.env.MODULES_FILE;
if (file === undefined) throw new Error('MODULES_FILE is not set');

registerHooks({
  load(url, context, nextLoad) {
    appendFileSync(file, `${url}\n`);
    return nextLoad(url, context);
  },
});
