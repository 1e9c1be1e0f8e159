import type { ServerResponse } from 'node:http';

const WORKS: unique symbol = Symbol('done when the answer is over');

declare module 'node:http' {
  interface ServerResponse {
    [WORKS]?: (() => void)[];
  }
}

/**
 * Does something once an answer is over: it is out, or its connection is gone. As a listener each would be wrapped, added to a list that is
 * copied, and taken out again.
 */
export function atEnd(response: ServerResponse, work: () => void): void {
  const works = response[WORKS];
  if (works !== undefined) {
    works.push(work);
    return;
  }
  response[WORKS] = [work];
  response.on('close', finish);
}

function finish(this: ServerResponse): void {
  const works = this[WORKS] ?? [];
  this[WORKS] = [];
  for (const work of works) work();
}
