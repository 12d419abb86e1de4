mod protocol;
mod world;
mod worlds;
