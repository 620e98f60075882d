// The pages of reading: the room where a picture is given, and the undoing of what was answered last.
import { makeUndo } from "./reading.undo.js";
import { openRoom } from "./reading.room.js";

const room = document.getElementById("room");
const undo = makeUndo(document.getElementById("undo"));
if (room) openRoom(room, undo);
// a page that the browser kept from before is not the present one
window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
