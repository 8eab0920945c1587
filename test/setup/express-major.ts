import { basename } from 'node:path';
import { expect } from 'vitest';
import { useMajor } from '../helpers/http.js';

// Not by the environment of a project: one process runs the files of both majors, because a start costs more than many
// of the files.
const isOfFirstHalf = basename(expect.getState().testPath!) < 'k';
const isAtDoor = process.env.HOTPATH_FRONT_DOOR !== undefined;
useMajor(isOfFirstHalf === isAtDoor ? '5' : '4');
