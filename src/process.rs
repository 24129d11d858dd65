//! Children: started in their own process group, with a clean environment, an owner, a deadline and a way to die.
